# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# The workspace's environment, for bash: `. tools/env.sh`. Everything runs inside it; the Makefile
# and .venv/bin/lwd use it through tools/run.

_lwd_root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
if [ ! -f "$_lwd_root/install/setup.bash" ]; then
  echo "the workspace is not built: run: make setup" >&2
  unset _lwd_root
  return 1 2>/dev/null || exit 1
fi

# ROS 2 wheels of another environment leave their library path behind a guard variable.
if [ -n "${_ROS_WHEELS_BOOTSTRAP_COMPLETE:-}" ]; then
  unset _ROS_WHEELS_BOOTSTRAP_COMPLETE LD_LIBRARY_PATH
fi
if [ "$(cat "$_lwd_root/.venv/.lwd/ros" 2>/dev/null)" = wheels ]; then
  unset PYTHONPATH COLCON_PREFIX_PATH CMAKE_PREFIX_PATH
  export AMENT_PREFIX_PATH="$_lwd_root/.venv"
fi
case ":$PATH:" in
  *":$_lwd_root/.venv/bin:"*) ;;
  *) export PATH="$_lwd_root/.venv/bin:$PATH" ;;
esac
. "$_lwd_root/install/setup.bash"

export VIRTUAL_ENV="$_lwd_root/.venv"
export PYTHONNOUSERSITE=1
# One machine unless the user says otherwise: robots of other people on the network stay unseen.
export ROS_AUTOMATIC_DISCOVERY_RANGE="${ROS_AUTOMATIC_DISCOVERY_RANGE:-LOCALHOST}"
# The simulated cameras render off screen.
export MUJOCO_GL="${MUJOCO_GL:-egl}"
unset _lwd_root
