# SPDX-License-Identifier: Apache-2.0
"""The simulated robot as a ROS 2 node: it speaks what a real robot's drivers speak.

Lockstep: at tick t it publishes sensors stamped t, then clock t, and steps once a command stamped
t or later is there, or after `lockstep_timeout` with the last targets. It owns its robot's clock,
so it runs on wall time itself. One thread: publishing, waiting and stepping alternate.
"""
from collections import deque
from dataclasses import dataclass, replace
import time
from typing import Any

from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import JointState
from std_msgs.msg import Bool

from lwd_core import topics
from lwd_core.params import param, ParamError
from lwd_core.robot import RobotSpec
from lwd_core.ros_params import declare
from lwd_core.ros_qos import publisher, subscription
from lwd_core.ros_spin import EXPECTED, run
from lwd_core.ros_tick import to_ns, to_stamp
from lwd_msgs.msg import SimState, StateObservation
from lwd_msgs.srv import ResetScene
from lwd_sim.cameras import CameraPublisher
from lwd_sim.lockstep import Pace
from lwd_sim.robots import make_robot
from lwd_sim.simulation import Imperfections


@dataclass(frozen=True)
class SimParams:
    """Parameters of the simulated robot."""

    robot_file: str = param('', 'robot YAML: joints, control rate, cameras')
    robot: str = param('', "robot name; '' takes the one of the robot file")
    tasks_file: str = param('', 'task YAML; the simulation knows its tasks itself')
    task: str = param('place', 'task whose scene is there before the first reset_scene')
    seed: int = param(0, 'seed of that scene', lower=0)
    observation: str = param('state', 'publish images, or the state observation only',
                             choices=('state', 'pixels'))
    lockstep_timeout: float = param(2.0, 'wall time to wait for the command of a tick', unit='s',
                                    lower=0.0, upper=60.0)
    real_time_factor: float = param(0.0, 'cap on simulated s per s; 0: as fast as possible',
                                    lower=0.0, upper=1000.0)
    camera_decimation: int = param(1, 'render every this many ticks', lower=1, upper=25)
    jpeg_quality: int = param(90, 'of the published images', lower=1, upper=100)
    sensor_latency: int = param(0, 'ticks by which joint and state samples arrive late',
                                lower=0, upper=25)
    camera_latency: int = param(0, 'ticks by which images arrive late', lower=0, upper=25)
    joint_noise: float = param(0.0, 'std of measured joints', unit='rad', lower=0.0, upper=0.1)
    state_noise: float = param(0.0, 'std of the state observation', lower=0.0, upper=0.1)
    actuation_noise: float = param(0.0, 'std of what the servos add to every target', unit='rad',
                                   lower=0.0, upper=0.1)

    def __post_init__(self) -> None:
        """Refuse to start without a robot."""
        if not self.robot_file:
            raise ParamError("parameter robot_file: '' refused, name a robot YAML "
                             '(e.g. config/robots/sim.yaml)')


class SimRobotNode(Node):
    """Publishes, waits for the command, steps."""

    def __init__(self, **kwargs: Any) -> None:
        """Declare, build the robot, connect."""
        super().__init__('sim', **kwargs)
        p = self.params = declare(self, SimParams)
        spec = RobotSpec.from_yaml(p.robot_file)
        self.robot = make_robot(spec, p.task, p.seed, Imperfections(
            p.joint_noise, p.state_noise, p.actuation_noise))
        self._period = spec.period_ns
        self.tick = self._period              # ns, stamp of the tick that is open
        self._targets = None                  # newest command for the open tick
        self._answered = False
        self._success: bool | None = None
        self._pace = Pace(p.real_time_factor, spec.period_ns / 1e9)
        self._delayed: dict[str, deque[Any]] = {}
        self._make_publishers()
        self._cameras = CameraPublisher(
            self, spec, p.camera_latency, p.jpeg_quality, self.robot.cameras) \
            if p.observation == 'pixels' else None
        subscription(self, topics.command(spec.command_interface), self._on_command)
        self.create_service(ResetScene, 'reset_scene', self._on_reset)

    def _make_publishers(self) -> None:
        self._joints = publisher(self, topics.JOINT_STATES)
        self._state = publisher(self, topics.STATE_OBSERVATION)
        self._sim_state = publisher(self, topics.SIM_STATE)
        self._success_topic = publisher(self, topics.SUCCESS)
        self._clock = publisher(self, replace(topics.CLOCK, name='clock'))

    # -- events ------------------------------------------------------------------------------

    def _on_command(self, message: Any) -> None:
        if hasattr(message, 'points'):
            if to_ns(message.header.stamp) < self.tick:
                return
            by_name = dict(zip(message.joint_names, message.points[0].positions))
            missing = [name for name in self.robot.names if name not in by_name]
            if missing:
                self.get_logger().error(f'command lacks joint {missing[0]}; ignored',
                                        throttle_duration_sec=5.0)
                return
            self._targets = [by_name[name] for name in self.robot.names]
        else:
            self._targets = list(message.data)
        self._answered = True

    def _on_reset(self, request: Any, response: Any) -> Any:
        seed = request.seed if request.seed >= 0 else time.time_ns() % 2**31
        try:
            self.robot.reset(request.task, seed)
            response.ok = True
        except ValueError as error:
            response.ok, response.message = False, str(error)
            self.get_logger().error(f'reset_scene refused: {error}')
        return response

    # -- the loop ----------------------------------------------------------------------------

    def run_tick(self, executor: SingleThreadedExecutor) -> None:
        """Publish the open tick, wait for its command, step to the next."""
        delay = self._pace.wait(time.monotonic())
        self._spin(executor, time.monotonic() + delay, lambda: False)
        self._targets, self._answered = None, False
        self._publish()
        self._spin(executor, time.monotonic() + self.params.lockstep_timeout,
                   lambda: self._answered)
        self.robot.step(self._targets)
        self.tick += self._period

    def _spin(self, executor: SingleThreadedExecutor, until: float, done: Any) -> None:
        while not done() and (left := until - time.monotonic()) > 0.0:
            executor.spin_once(timeout_sec=min(left, 0.2))
            if not self.context.ok():
                return

    def _publish(self) -> None:
        stamp = to_stamp(self.tick)
        self._send('joints', self._joints, self._joint_state(stamp), self.params.sensor_latency)
        state = StateObservation(
            names=list(self.robot.state_names), values=self.robot.state().tolist())
        state.header.stamp = stamp
        self._send('state', self._state, state, self.params.sensor_latency)
        tick = self.tick // self._period
        if self._cameras is not None and tick % self.params.camera_decimation == 0:
            self._cameras.publish(self.robot.world, stamp)
        self._sim_state.publish(self._world_state(stamp))
        self._publish_success()
        self._clock.publish(Clock(clock=stamp))

    def _send(self, key: str, to: Any, message: Any, latency: int) -> None:
        """Publish what is `latency` ticks old by now."""
        queue = self._delayed.setdefault(key, deque())
        queue.append(message)
        if len(queue) > latency:
            to.publish(queue.popleft())

    def _joint_state(self, stamp: Any) -> JointState:
        positions, velocities, efforts = self.robot.joints()
        message = JointState(name=list(self.robot.names), position=positions.tolist(),
                             velocity=velocities.tolist(), effort=efforts.tolist())
        message.header.stamp = stamp
        return message

    def _world_state(self, stamp: Any) -> SimState:
        world = self.robot.world
        qpos, qvel, ctrl = world.state()
        message = SimState(task=world.task.name, seed=world.seed, step=world.steps,
                           qpos=qpos.tolist(), qvel=qvel.tolist(), ctrl=ctrl.tolist(),
                           success=world.success(), starved_steps=self.robot.starved_steps)
        message.header.stamp = stamp
        return message

    def _publish_success(self) -> None:
        success = self.robot.world.success()
        if success != self._success:
            self._success = success
            self._success_topic.publish(Bool(data=success))

    def destroy_node(self) -> None:
        """Free the graphics context first."""
        if self._cameras is not None:
            self._cameras.close()
        super().destroy_node()


def build_node(**kwargs: Any) -> SimRobotNode:
    """Return the node, for composition and tests."""
    return SimRobotNode(**kwargs)


def main(args: list[str] | None = None) -> None:
    """Run the simulated robot until asked to stop; exit 2 with one line on a bad parameter."""
    run(build_node, args, expected=(*EXPECTED, ValueError), turn=SimRobotNode.run_tick)


if __name__ == '__main__':
    main()
