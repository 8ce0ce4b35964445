# SPDX-License-Identifier: Apache-2.0
"""The nodes of the graphs, one function each: what runs where, with which parameters."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lwd_bringup.graph.spec import NodeSpec, Respawn
from lwd_bringup.paths import config_dir
from lwd_core.store import is_bucket

ONCE = Respawn(on_failure=False, max_restarts=0)  # a bag that cannot be shown cannot be shown twice


def params_file(name: str) -> tuple[str, ...]:
    """Return the parameter file of a kind of node, if there is one."""
    path = config_dir() / 'params' / f'{name}.yaml'
    return (str(path),) if path.is_file() else ()


def clock_remap(robot: str, use_sim_time: bool) -> tuple[tuple[str, str], ...]:
    """Return the remap that ties a robot's nodes to its own clock, for simulated time only."""
    return (('/clock', f'/{robot}/clock'),) if use_sim_time else ()


@dataclass(frozen=True)
class Deployment:
    """What all nodes of a robot agree on; paths are absolute."""

    robot: str
    robot_file: str
    tasks_file: str
    store: str
    use_sim_time: bool


def _node(package: str, executable: str, name: str, at: Deployment, parameters: dict[str, Any],
          **fields: Any) -> NodeSpec:
    parameters = {'use_sim_time': at.use_sim_time, **parameters}
    return NodeSpec(package, executable, name, at.robot, parameters, params_file(name),
                    clock_remap(at.robot, at.use_sim_time), **fields)


def policy(at: Deployment, **parameters: Any) -> NodeSpec:
    """Return the policy node; its inference worker is a process of its own below it."""
    return _node('lwd_policy_node', 'policy_node', 'policy', at, {
        'robot': at.robot, 'robot_file': at.robot_file, 'tasks_file': at.tasks_file,
        'store': at.store, 'autostart': True, **parameters}, lifecycle=True)


def arbiter(at: Deployment, **parameters: Any) -> NodeSpec:
    """Return the arbiter, the only writer of the robot's command."""
    return _node('lwd_intervention', 'arbiter_node', 'arbiter', at, {
        'robot': at.robot, 'robot_file': at.robot_file, **parameters}, publishes=('command',))


def episode(at: Deployment, **parameters: Any) -> NodeSpec:
    """Return the episode state machine."""
    return _node('lwd_intervention', 'episode_node', 'episode', at, {
        'robot': at.robot, 'robot_file': at.robot_file, 'tasks_file': at.tasks_file, **parameters})


def recorder(at: Deployment, **parameters: Any) -> NodeSpec:
    """Return the recorder: one bag per episode, handed to the store."""
    return _node('lwd_logger', 'recorder_node', 'recorder', at, {
        'robot': at.robot, 'robot_file': at.robot_file, 'store': at.store, **parameters})


def uploader(at: Deployment, **parameters: Any) -> NodeSpec:
    """Return the uploader: finished episodes from a folder here to the store, on wall time."""
    return _node('lwd_logger', 'uploader_node', 'uploader', replace(at, use_sim_time=False), {
        'robot': at.robot, 'store': at.store, **parameters}, niceness=5)


def sim_robot(at: Deployment, **parameters: Any) -> NodeSpec:
    """Return the simulated robot; it owns its namespace's clock and so runs on wall time."""
    at = replace(at, use_sim_time=False)
    return _node('lwd_sim', 'sim_robot_node', 'sim', at, {
        'robot': at.robot, 'robot_file': at.robot_file, 'tasks_file': at.tasks_file, **parameters},
        publishes=('clock',))


def operator(at: Deployment, **parameters: Any) -> NodeSpec:
    """Return the scripted operator: demonstrates, or watches, takes over and labels."""
    return _node('lwd_sim', 'operator_node', 'operator', at, {
        'robot': at.robot, 'robot_file': at.robot_file, 'tasks_file': at.tasks_file, **parameters})


def teleop(at: Deployment, **parameters: Any) -> NodeSpec:
    """Return teleoperation: Joy and leader arms to joint commands, deadman and buttons."""
    return _node('lwd_intervention', 'teleop_node', 'teleop', at, {
        'robot': at.robot, 'robot_file': at.robot_file,
        'mapping_dir': str(config_dir() / 'teleop'), **parameters})


def joy(at: Deployment, **parameters: Any) -> NodeSpec:
    """Return the reader of a gamepad, SpaceMouse or keyboard, with its window."""
    return _node('lwd_intervention', 'joy_node', 'joy', at, {
        'mapping_dir': str(config_dir() / 'teleop'), **parameters})


def view(at: Deployment, **parameters: Any) -> NodeSpec:
    """Return the picture of the simulated cell for a person who drives it."""
    return _node('lwd_sim', 'view_node', 'view', at, parameters)


def learner(at: Deployment, **parameters: Any) -> NodeSpec:
    """Return the learner; it lives on wall time whatever its robots do."""
    own = {'use_sim_time': False, 'store': at.store, 'robot_file': at.robot_file,
           'tasks_file': at.tasks_file, **parameters}
    return NodeSpec('lwd_learner', 'learner_node', 'learner', 'lwd', own, params_file('learner'))


def replay(robot: str, **parameters: Any) -> NodeSpec:
    """Return the republisher of one bag; it may write every topic of its namespace."""
    return NodeSpec('lwd_bringup', 'replay_node', 'replay', robot,
                    {'use_sim_time': False, **parameters}, params_file('replay'),
                    publishes=('clock', 'command'), respawn=ONCE, ends_graph=True)


def shadow(robot: str, **parameters: Any) -> NodeSpec:
    """Return what shows a recording to a policy node and compares; it plays robot and arbiter."""
    return NodeSpec('lwd_bringup', 'shadow_node', 'shadow', robot,
                    {'use_sim_time': False, **parameters}, params_file('shadow'),
                    publishes=('clock',), respawn=ONCE, ends_graph=True)


def absolute(path: str) -> str:
    """Return path made absolute, so that a node's working folder does not matter.

    A bucket's URL stays as it is.
    """
    if is_bucket(path):
        return path
    return str(Path(path).expanduser().resolve()) if path else ''
