# SPDX-License-Identifier: Apache-2.0
"""A success detector is asked again and again, whatever becomes of it."""

from types import SimpleNamespace

import pytest
from rclpy.task import Future

from lwd_intervention.episode.requests import Refused
from lwd_intervention.episode.ros_success import ANSWER_TIMEOUT, SuccessDetector


class Rig:
    """A node, its client of the detector's service, and the time."""

    srv_name = '/arm/done'

    def __init__(self):
        self.now, self.ready, self.over = 10.0, True, False
        self.asked, self.forgotten, self.seen, self.said = [], [], [], []
        self.detector = SuccessDetector(self, 'done', 0.5, wall=lambda: self.now)

    def create_client(self, kind, name):
        return self

    def get_logger(self):
        return SimpleNamespace(warning=lambda text, **_: self.said.append(text))

    def service_is_ready(self):
        return self.ready

    def call_async(self, request):
        self.asked.append(Future())
        return self.asked[-1]

    def remove_pending_request(self, future):
        self.forgotten.append(future)

    def success_seen(self, episode_id, message):
        if self.over:
            raise Refused('no episode is running')
        self.seen.append((episode_id, message))

    def pass_time(self, seconds, episode_id='e1'):
        for _ in range(round(seconds / 0.25)):
            self.now += 0.25
            self.detector.poll(episode_id)

    def answer(self, success, message=''):
        self.asked[-1].set_result(SimpleNamespace(success=success, message=message))


@pytest.fixture
def rig():
    return Rig()


def test_it_is_asked_at_its_period_until_it_sees_the_success(rig):
    for _ in range(3):
        rig.pass_time(0.5)
        rig.answer(False)
    rig.pass_time(0.5)
    rig.answer(True, 'can in slot')
    assert len(rig.asked) == 4 and rig.seen == [('e1', 'can in slot')] and rig.said == []


def test_nothing_is_asked_while_nothing_runs_nor_while_an_answer_is_awaited(rig):
    rig.pass_time(5.0, episode_id='')
    assert rig.asked == []
    rig.pass_time(ANSWER_TIMEOUT)
    assert len(rig.asked) == 1 and rig.forgotten == []


def test_one_that_died_amid_a_question_is_asked_again_once_it_is_back(rig):
    rig.pass_time(0.5)
    rig.ready = False
    rig.pass_time(2.0)
    assert rig.forgotten == rig.asked[:1] and any('nobody answers' in text for text in rig.said)
    rig.ready = True
    rig.pass_time(0.5)
    rig.answer(True)
    assert len(rig.asked) == 2 and len(rig.seen) == 1


def test_one_that_never_answers_is_asked_again_and_named(rig):
    rig.pass_time(ANSWER_TIMEOUT + 2.0)
    assert len(rig.asked) == 2 and rig.forgotten == rig.asked[:1]
    assert rig.said == ['success_service /arm/done: gave no answer; asked again']


def test_what_goes_wrong_with_an_answer_is_said_and_one_that_comes_late_counts_for_nothing(rig):
    rig.pass_time(0.5)
    rig.asked[-1].set_exception(TypeError('not a Trigger'))
    assert rig.said == ['success_service /arm/done: TypeError: not a Trigger']
    rig.pass_time(0.5)
    rig.over = True
    rig.answer(True)
    assert rig.seen == []
