# SPDX-License-Identifier: Apache-2.0
"""What the value function thought along a recorded episode, as a picture and as a page."""
