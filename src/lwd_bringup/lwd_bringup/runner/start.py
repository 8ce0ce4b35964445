# SPDX-License-Identifier: Apache-2.0
"""From a graph to processes on a machine without `ros2 launch`."""

from collections.abc import Mapping
import os
from pathlib import Path

from lwd_bringup.graph.command import process_command
from lwd_bringup.graph.spec import Graph
from lwd_bringup.runner.process import ProcessSpec


def ros_environment(domain: int | None = None) -> dict[str, str]:
    """
    Return the variables that keep a graph to this machine and to its own domain.

    Whoever has chosen a range or a domain in the environment keeps it.
    """
    env = {
        'ROS_AUTOMATIC_DISCOVERY_RANGE': os.environ.get('ROS_AUTOMATIC_DISCOVERY_RANGE',
                                                        'LOCALHOST'),
        'PYTHONUNBUFFERED': '1',
        'RCUTILS_COLORIZED_OUTPUT': '0',
        # One thread each: the processes of a graph share the cores among themselves.
        'OMP_NUM_THREADS': os.environ.get('OMP_NUM_THREADS', '1'),
        'MUJOCO_GL': os.environ.get('MUJOCO_GL', 'egl'),
    }
    if domain is not None:
        env['ROS_DOMAIN_ID'] = str(domain)
    return env


def graph_processes(graph: Graph, run_dir: Path, env: Mapping[str, str]) -> list[ProcessSpec]:
    """Return the graph's processes; their parameter files are written to run_dir/params."""
    return [
        ProcessSpec(name, process_command(nodes, run_dir / 'params'), dict(env),
                    respawn=nodes[0].respawn, niceness=nodes[0].niceness)
        for name, nodes in graph.processes().items()
    ]
