# SPDX-License-Identifier: Apache-2.0
import os
import signal
import subprocess
import sys
import textwrap
import threading

import pytest
import rclpy
from rclpy.node import Node
from sensor_msgs.msg import Joy

from lwd_core.ros_spin import SpinThread

DOMAIN = 49


@pytest.fixture
def context(monkeypatch):
    monkeypatch.setenv('ROS_AUTOMATIC_DISCOVERY_RANGE', 'LOCALHOST')
    own = rclpy.Context()
    rclpy.init(context=own, domain_id=DOMAIN)
    yield own
    own.try_shutdown()


def run_node(body, *, arguments='', stop=None):
    """Run a process around a node `Probe`; return its exit code, stdout and stderr."""
    code = textwrap.dedent('''
        from rclpy.node import Node
        from lwd_core.params import ParamError
        from lwd_core.ros_spin import run
        class Probe(Node):
            def __init__(self):
                super().__init__('probe')
                self.turns = 0
                self.timer = self.create_timer(0.01, self.tick)
                self.begin()
            def begin(self): pass
            def tick(self):
                self.turns += 1
                if self.turns == 2: print('spins', flush=True)
            def destroy_node(self):
                print('last words', flush=True)
                super().destroy_node()
    ''') + textwrap.dedent(body) + f'\nrun(Probe{arguments})\nprint("returned", flush=True)\n'
    process = subprocess.Popen(
        [sys.executable, '-c', code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env=os.environ | {'ROS_DOMAIN_ID': str(DOMAIN)})
    if stop is not None:
        assert process.stdout.readline() == 'spins\n'
        process.send_signal(stop)
    out, err = process.communicate(timeout=60)
    return process.returncode, out, err


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
def test_a_signal_lets_the_node_say_its_last_words(number):
    assert run_node('', stop=number) == (0, 'last words\nreturned\n', '')


def test_a_node_that_is_done_returns():
    assert run_node('', arguments=', done=lambda node: node.turns > 1') == (
        0, 'spins\nlast words\nreturned\n', '')


def test_an_expected_error_is_one_line_and_exit_code_2():
    body = '''
        def begin(self): raise ParamError('parameter x: 3 refused, must be 2')
        Probe.begin = begin
    '''
    assert run_node(body) == (2, '', 'parameter x: 3 refused, must be 2\n')


def test_an_unexpected_error_is_told_and_the_node_still_says_its_last_words():
    body = '''
        def tick(self): raise KeyError('lost')
        Probe.tick = tick
    '''
    code, out, err = run_node(body)
    assert code == 1 and out == 'last words\n' and "KeyError: 'lost'" in err


def test_a_thread_is_stopped_amid_traffic_and_raises_nothing(context):
    for k in range(30):  # the race it is about is one of microseconds
        node = Node(f'busy{k}', context=context)
        heard = threading.Event()
        sender = node.create_publisher(Joy, f'loop{k}', 10)

        def answer(_, sender=sender, heard=heard):
            heard.set()
            sender.publish(Joy())
        node.create_subscription(Joy, f'loop{k}', answer, 10)
        node.create_timer(1e-4, lambda: None)
        thread = SpinThread(node, context=context)
        while not heard.wait(0.01):
            sender.publish(Joy())
        thread.stop()
        thread.stop()  # may be called again
        node.destroy_node()


def test_what_a_callback_raises_in_the_thread_is_raised_where_it_is_stopped(context):
    node = Node('raising', context=context)
    raised = threading.Event()

    def fail():
        raised.set()
        raise ValueError('in the thread')
    node.create_timer(1e-3, fail)
    thread = SpinThread(node, context=context)
    assert raised.wait(30.0)
    with pytest.raises(ValueError, match='in the thread'):
        thread.stop()
    node.destroy_node()
