# SPDX-License-Identifier: Apache-2.0
"""The graph as plain data; described once, started by `ros2 launch` or by the runner."""

from lwd_bringup.graph.builders import build_graph, GRAPHS
from lwd_bringup.graph.files import check_files
from lwd_bringup.graph.spec import Argument, Graph, GraphError, GraphTemplate, NodeSpec, Respawn
from lwd_bringup.graph.validate import validate

__all__ = [
    'Argument',
    'build_graph',
    'check_files',
    'Graph',
    'GraphError',
    'GRAPHS',
    'GraphTemplate',
    'NodeSpec',
    'Respawn',
    'validate',
]
