# SPDX-License-Identifier: Apache-2.0
"""`lwd operate`: what the operator of one robot must see, in a terminal."""
