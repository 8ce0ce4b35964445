# SPDX-License-Identifier: Apache-2.0
"""A policy on another machine, by openpi's websocket policy protocol."""
