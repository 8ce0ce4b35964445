# SPDX-License-Identifier: Apache-2.0
"""Inference backends behind one switch. This module imports no torch: the node needs the names."""

BACKENDS = ('eager', 'compile', 'onnxruntime', 'openvino', 'cuda_graph')
