# SPDX-License-Identifier: Apache-2.0
"""One algorithm a file: DIVL, QAM and their peers, as pure functions over tensors."""
