# SPDX-License-Identifier: Apache-2.0
"""A gamepad, SpaceMouse or keyboard as sensor_msgs/Joy, where ROS's own joy package is missing.

Publishes at a fixed rate what the device shows now, in the layout of ROS's game_controller_node
(gamepads) or spacenav_node (SpaceMouse); header.frame_id is the device's name. Unplugged: one empty
message, then nothing. With a display a window shows the robot, who drives, and the mapping.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
import time
from typing import Any

from rclpy.node import Node
from sensor_msgs.msg import Joy

from lwd_core import topics
from lwd_core.images import decode_jpeg, ImageError
from lwd_core.params import param, ParamError
from lwd_core.ros_params import declare
from lwd_core.ros_qos import publisher, subscription
from lwd_core.ros_spin import make_executor, run, steady_clock
from lwd_intervention.modes import Mode
from lwd_intervention.teleop.building import find_mapping
from lwd_intervention.teleop.cheatsheet import cheatsheet
from lwd_intervention.teleop.effects import State
from lwd_intervention.teleop.mapping import Mapping
from lwd_intervention.teleop.panel import Panel, Shown
from lwd_intervention.teleop.sdl import (
    Device,
    has_display,
    Reading,
    SdlKeyboard,
    SdlPads,
    start_sdl,
)
from lwd_msgs.msg import TeleopStatus

FIRST = 2.0      # s until it is said that nothing is plugged in
REMIND = 30.0    # s until it is said again
FRAME = 0.05     # s between two pictures in the window


@dataclass(frozen=True)
class JoyParams:
    """Parameters of the device node."""

    mapping: str = param('auto', "mapping by name or path; 'auto': gamepads and SpaceMouse")
    mapping_dir: str = param('', 'folder of the mappings (config/teleop)')
    device: str = param('', "part of the device's name; '': the first that fits")
    rate: float = param(60.0, 'messages per wall second', unit='Hz', lower=10.0, upper=500.0)
    window: str = param('auto', 'show the window', choices=('auto', 'yes', 'no'))
    view_topic: str = param('view/image/compressed', 'pictures for the window')

    def __post_init__(self) -> None:
        """Refuse to start without mappings."""
        if not self.mapping_dir and not self.mapping.endswith('.yaml'):
            raise ParamError("parameter mapping_dir: '' refused, name the folder of the mappings "
                             '(e.g. config/teleop)')


class JoyNode(Node):
    """Polls the device, publishes, draws; all in the thread that spins it."""

    def __init__(self, make_device: Callable[[], Device] | None = None, **kwargs: Any) -> None:
        """Declare, read the mappings; SDL starts with the first poll, in the spinning thread."""
        super().__init__('joy', **kwargs)
        p = self.params = declare(self, JoyParams)
        self._mappings = self._read_mappings()
        self._window = p.window == 'yes' or (p.window == 'auto' and has_display())
        if self._keyboard and not self._window and make_device is None:
            raise ParamError('mapping keyboard: keys are read by a window, and there is no display '
                             '(DISPLAY and WAYLAND_DISPLAY are empty); use a gamepad, or start '
                             'this on a desktop')
        self._make_device = make_device or self._start_sdl
        self._device: Device | None = None
        self._keys: SdlKeyboard | None = None
        self._panel: Panel | None = None
        self._plugged = ''
        self._reminded = time.monotonic() - REMIND + FIRST
        self._drawn = 0.0
        self._shown = Shown(rows=cheatsheet(self._mappings[0]), teleop='no device yet')
        self._joy = publisher(self, topics.JOY)
        if self._window:
            self._watch()
        self.create_timer(1.0 / p.rate, self._on_poll, clock=steady_clock())

    @property
    def _keyboard(self) -> bool:
        return self._mappings[0].device == 'keyboard'

    def _read_mappings(self) -> list[Mapping]:
        p = self.params
        if p.mapping != 'auto':
            return [find_mapping(p.mapping, p.mapping_dir)]
        files = sorted(Path(p.mapping_dir).glob('*.yaml'))
        mappings = [Mapping.from_yaml(file) for file in files]
        return [mapping for mapping in mappings if mapping.device in ('gamepad', 'joystick')]

    def _start_sdl(self) -> Device:
        pygame = start_sdl(self._window)
        if self._window:
            self._panel = Panel(pygame)
        if self._keyboard:
            return SdlKeyboard(pygame, self._mappings[0].buttons)
        return SdlPads(pygame, self._mappings, self.params.device)

    # -- the device --------------------------------------------------------------------------

    def _on_poll(self) -> None:
        if self._device is None:
            self._device = self._make_device()
        reading = self._device.poll()
        if reading is None:
            self._on_missing()
        else:
            self._on_reading(reading)
        if self._panel is not None and time.monotonic() - self._drawn > FRAME:
            self._drawn = time.monotonic()
            self._panel.draw(self._shown)

    def _on_reading(self, reading: Reading) -> None:
        if reading.device != self._plugged:
            self._plugged = reading.device
            mapping = self._mapping_of(reading)
            self._shown.rows = cheatsheet(mapping)
            self._shown.teleop = reading.device
            self._keys = None
            if self._panel is not None and mapping.keys:
                import pygame
                self._keys = SdlKeyboard(pygame, mapping.keys)
            self._n_buttons = len(mapping.buttons)
            self.get_logger().info(f'{reading.device} plugged in, mapping {mapping.name}')
        buttons = reading.buttons
        if self._keys is not None:
            buttons = (*buttons[:self._n_buttons], *self._keys.pressed())
        self._publish(reading.axes, buttons)

    def _mapping_of(self, reading: Reading) -> Mapping:
        if isinstance(self._device, SdlPads):
            return self._device.mapping()
        return self._mappings[0]

    def _on_missing(self) -> None:
        if self._plugged:
            # Nothing in it: whoever listens knows at once, not only after a silence.
            self._publish((), ())
            self.get_logger().warning(f'{self._plugged} unplugged')
            self._plugged, self._reminded = '', time.monotonic()
        elif time.monotonic() - self._reminded > REMIND:
            self._reminded = time.monotonic()
            assert self._device is not None
            self._shown.teleop = self._device.missing()
            self.get_logger().warning(self._device.missing())

    def _publish(self, axes: tuple[float, ...], buttons: tuple[int, ...]) -> None:
        message = Joy(axes=list(axes), buttons=list(buttons))
        message.header.stamp = self.get_clock().now().to_msg()
        message.header.frame_id = self._plugged
        self._joy.publish(message)

    # -- the window --------------------------------------------------------------------------

    def _watch(self) -> None:
        subscription(self, topics.CONTROL_MODE, self._on_mode)
        subscription(self, topics.EPISODE, self._on_episode)
        subscription(self, topics.TELEOP_STATUS, self._on_status)
        view = topics.TopicSpec(self.params.view_topic, 'sensor_msgs/msg/CompressedImage', 1,
                                reliable=False)
        subscription(self, view, self._on_view)

    def _on_mode(self, message: Any) -> None:
        self._shown.mode, self._shown.mode_reason = Mode(message.mode).name, message.reason

    def _on_episode(self, message: Any) -> None:
        phases = ('idle', 'resetting', 'ready', 'running', 'label it now')
        what = f'{message.task}: {message.instruction}' if message.task else 'no episode'
        self._shown.task = f'{what}  [{phases[message.phase]}]'

    def _on_status(self, message: TeleopStatus) -> None:
        arms = ' and '.join(arm for arm, on in zip(message.arms, message.selected) if on)
        scale = min(message.limit_scale, default=1.0)
        slow = ', slow' if message.slow else ''
        limited = f', {scale:.0%} of the speed' if scale < 0.95 else ''
        self._shown.teleop = (f'{message.device}: {State(message.state).name.lower()}, {arms} arm, '
                              f'{message.frame} frame{slow}{limited}')
        self._shown.warning = message.reason

    def _on_view(self, message: Any) -> None:
        try:
            self._shown.image = decode_jpeg(bytes(message.data))
        except ImageError as error:
            self.get_logger().warning(f'{self.params.view_topic}: {error}',
                                      throttle_duration_sec=10.0)

    def destroy_node(self) -> None:
        """Tell listeners that the device is gone."""
        if self._plugged and self.context.ok():
            self._publish((), ())
        if self._device is not None:
            self._device.close()
        super().destroy_node()


def build_node(**kwargs: Any) -> JoyNode:
    """Return the node, for composition and tests."""
    return JoyNode(**kwargs)


def main(args: list[str] | None = None) -> None:
    """Publish the device until asked to stop."""
    run(build_node, args, executor=make_executor)


if __name__ == '__main__':
    main()
