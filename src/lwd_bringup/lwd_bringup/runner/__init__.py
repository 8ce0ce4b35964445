# SPDX-License-Identifier: Apache-2.0
"""The bare-machine starter of a graph: processes, logs, restarts, clean shutdown."""

from lwd_bringup.runner.process import Health, ProcessSpec, State
from lwd_bringup.runner.runner import Runner
from lwd_bringup.runner.start import graph_processes, ros_environment

__all__ = ['graph_processes', 'Health', 'ProcessSpec', 'ros_environment', 'Runner', 'State']
