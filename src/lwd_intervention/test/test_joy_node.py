# SPDX-License-Identifier: Apache-2.0
"""The device node: SDL's own virtual gamepad, plugged in, used and pulled out, as Joy over DDS."""

import os
from pathlib import Path
import subprocess
import sys

import pytest

pygame = pytest.importorskip('pygame')

CONFIG = Path(__file__).parents[3] / 'config' / 'teleop'
LIBRARIES = sorted((Path(pygame.__file__).parents[1] / 'pygame_ce.libs').glob('libSDL2-2*'))
needs_sdl = pytest.mark.skipif(not LIBRARIES, reason='pygame-ce without its own SDL2: no virtual '
                               'gamepad can be attached to it')

# In a process of its own: SDL is one for the whole process and wants one thread.
SCRIPT = '''
import ctypes, os, sys
import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.parameter import Parameter
from sensor_msgs.msg import Joy
from lwd_intervention.joy_node import build_node

sdl = ctypes.CDLL(sys.argv[1])
sdl.SDL_JoystickOpen.restype = ctypes.c_void_p
sdl.SDL_JoystickSetVirtualAxis.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_int16]
sdl.SDL_JoystickSetVirtualButton.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_uint8]
rclpy.init(domain_id=49)
space = f'pad{os.getpid()}'  # nobody else's
node = build_node(namespace=space, parameter_overrides=[
    Parameter('mapping_dir', value=sys.argv[2]), Parameter('rate', value=200.0),
    Parameter('window', value='no')])
heard = []
listener = rclpy.create_node('listener', namespace=space)
listener.create_subscription(Joy, 'joy', heard.append, 10)
executor = SingleThreadedExecutor()
executor.add_node(node)
executor.add_node(listener)

def until(condition, what):
    for _ in range(4000):
        if condition():
            return
        executor.spin_once(timeout_sec=0.01)
    raise SystemExit('not met: ' + what)

until(lambda: node._device is not None, 'SDL')
assert not heard, 'Joy without a device'
print('missing:', node._device.missing())
index = sdl.SDL_JoystickAttachVirtual(1, 6, 15, 0)
until(lambda: heard, 'a message')
until(lambda: node.count_subscribers(f'/{space}/joy') == 1 and len(heard) > 5, 'messages')
first = heard[-1]
print('device:', first.header.frame_id, len(first.axes), len(first.buttons))
assert all(abs(axis) < 0.01 for axis in first.axes) and not any(first.buttons), first
pad = sdl.SDL_JoystickOpen(index)
for axis, value in ((0, -32768), (1, -32768), (5, 32767)):
    sdl.SDL_JoystickSetVirtualAxis(pad, axis, value)
sdl.SDL_JoystickSetVirtualButton(pad, 9, 1)
until(lambda: heard[-1].buttons[9] and heard[-1].axes[1] > 0.9, 'left and up are positive')
print('axes:', [round(axis, 2) + 0.0 for axis in heard[-1].axes])
count = len(heard)
until(lambda: len(heard) > count + 20, 'fresh stamps while nothing changes')
stamps = [m.header.stamp.sec * 10**9 + m.header.stamp.nanosec for m in heard[-20:]]
assert stamps == sorted(set(stamps)), 'a stamp stands'
sdl.SDL_JoystickDetachVirtual(index)
until(lambda: not heard[-1].axes, 'unplugged')
after = len(heard)
for _ in range(50):
    executor.spin_once(timeout_sec=0.01)
assert len(heard) == after, 'messages of a device that is gone'
sdl.SDL_JoystickAttachVirtual(1, 6, 15, 0)
until(lambda: len(heard[-1].axes) == 6, 'plugged in again')
print('done')
node.destroy_node()
'''


@needs_sdl
def test_a_gamepad_is_found_read_in_the_layout_of_ros_lost_and_found_again():
    environment = {**os.environ, 'ROS_AUTOMATIC_DISCOVERY_RANGE': 'LOCALHOST',
                   'SDL_VIDEODRIVER': 'dummy'}
    ran = subprocess.run([sys.executable, '-c', SCRIPT, str(LIBRARIES[0]), str(CONFIG)],
                         capture_output=True, text=True, env=environment, timeout=150)
    assert 'done' in ran.stdout, ran.stdout + ran.stderr
    assert 'device: Virtual Controller 6 21' in ran.stdout
    assert 'axes: [1.0, 1.0, 0.0, 0.0, 0.0, -1.0]' in ran.stdout
    assert 'plug one in' in ran.stdout


@pytest.mark.parametrize(('display', 'step'), [
    (':7', 'or use --teleop keyboard'), ('', 'lwd up sim --operator supervise')])
def test_without_a_device_the_next_step_is_said_at_once(display, step):
    environment = {**os.environ, 'ROS_AUTOMATIC_DISCOVERY_RANGE': 'LOCALHOST',
                   'ROS_DOMAIN_ID': '49', 'DISPLAY': display, 'WAYLAND_DISPLAY': ''}
    process = subprocess.Popen(
        [sys.executable, '-m', 'lwd_intervention.joy_node', '--ros-args', '-p',
         f'mapping_dir:={CONFIG}', '-p', "window:='no'"],
        stderr=subprocess.PIPE, text=True, env=environment)
    try:
        line = next(line for line in process.stderr if 'no gamepad' in line)
    finally:
        process.terminate()
        process.wait(30)
    assert 'plug one in' in line and 'group input' in line and step in line


def test_a_keyboard_without_a_display_is_refused_with_the_next_step():
    environment = {**os.environ, 'DISPLAY': '', 'WAYLAND_DISPLAY': ''}
    ran = subprocess.run(
        [sys.executable, '-m', 'lwd_intervention.joy_node', '--ros-args', '-p',
         'mapping:=keyboard', '-p', f'mapping_dir:={CONFIG}'],
        capture_output=True, text=True, env=environment, timeout=100)
    assert ran.returncode == 2
    assert 'no display' in ran.stderr and 'use a gamepad' in ran.stderr


KEYS = '''
import os, sys
os.environ['SDL_VIDEODRIVER'] = 'dummy'
from pathlib import Path
import numpy as np
from lwd_intervention.teleop.cheatsheet import cheatsheet
from lwd_intervention.teleop.mapping import Mapping
from lwd_intervention.teleop.panel import Panel, Shown, SIZE
from lwd_intervention.teleop.sdl import SdlKeyboard, start_sdl

folder = Path(sys.argv[1])
keyboard = Mapping.from_yaml(folder / 'keyboard.yaml')
mouse = Mapping.from_yaml(folder / 'spacemouse.yaml')
pygame = start_sdl(True)
panel = Panel(pygame)
reading = SdlKeyboard(pygame, keyboard.buttons).poll()
SdlKeyboard(pygame, mouse.keys)
assert len(reading.buttons) == len(keyboard.buttons) and not any(reading.buttons)
try:
    SdlKeyboard(pygame, ['warp'])
except ValueError as error:
    print(error)
panel.draw(Shown(mode='HUMAN', rows=cheatsheet(keyboard), image=np.full((96, 96, 3), 200, 'u1')))
surface = pygame.display.get_surface()
print('colour', surface.get_at((5, 5))[:3], surface.get_at((300, 300))[:3], surface.get_size())
'''


def test_every_key_of_the_mappings_is_known_and_the_window_shows_mode_and_picture():
    ran = subprocess.run([sys.executable, '-c', KEYS, str(CONFIG)], capture_output=True, text=True,
                         timeout=100)
    assert 'colour (60, 170, 90) (200, 200, 200) (1280, 640)' in ran.stdout, ran.stderr
    assert "key 'warp' is no name of a key" in ran.stdout

