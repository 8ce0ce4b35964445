# SPDX-License-Identifier: Apache-2.0
"""From recorded episodes to better policies: ingest, replay, training, publishing."""
