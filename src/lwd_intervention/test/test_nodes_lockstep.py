# SPDX-License-Identifier: Apache-2.0
"""Both nodes over DDS on simulated time: a lockstep simulation that waits for every answer."""

import time

from intervention_fixtures import robot
import pytest
from ros_fixtures import (
    call,
    FakePolicy,
    FakeSim,
    NAMESPACE,
    Operator,
    PATIENCE,
    SOURCES,
    wait_for,
    world,
)
import yaml

from lwd_intervention.arbiter_node import build_node as build_arbiter
from lwd_intervention.episode_node import build_node as build_episode
from lwd_msgs.action import RunEpisode
from lwd_msgs.msg import ControlMode, EpisodeState, Intervention, Outcome
from lwd_msgs.srv import LabelEpisode

REMAP = ['--ros-args', '-r', f'__ns:=/{NAMESPACE}', '-r', f'/clock:=/{NAMESPACE}/clock']


@pytest.fixture
def stack(tmp_path, monkeypatch, request):
    """Give the nodes; a tick may stand open for `param` [s], which only a failure makes long."""
    monkeypatch.setenv('ROS_AUTOMATIC_DISCOVERY_RANGE', 'LOCALHOST')
    robot_file, tasks_file = tmp_path / 'robot.yaml', tmp_path / 'tasks.yaml'
    robot_file.write_text(yaml.safe_dump(robot().to_dict()))
    tasks_file.write_text(yaml.safe_dump({'tasks': {
        'place': {'instruction': 'place it', 'time_limit': 20.0}}}))
    files = {'robot_file': str(robot_file), 'robot': NAMESPACE, 'use_sim_time': True}
    with world(52) as spin:
        arbiter = spin(lambda **kw: build_arbiter(cli_args=REMAP, **kw), **files,
                       answer_timeout=getattr(request, 'param', 20.0))
        episode = spin(lambda **kw: build_episode(cli_args=REMAP, **kw), **files,
                       tasks_file=str(tasks_file), use_reset_scene=True)
        nodes = {'arbiter': arbiter, 'episode': episode, 'policy': spin(FakePolicy),
                 'operator': spin(Operator), 'sim': spin(FakeSim)}
        operator, sim = nodes['operator'], nodes['sim']
        assert operator.run.wait_for_server(PATIENCE) and operator.label.wait_for_service(PATIENCE)
        wait_for(lambda: sim.count_subscribers(f'/{NAMESPACE}/clock') >= 4, what='discovery')
        wait_for(lambda: operator.states and operator.modes, what='latched state')
        wait_for(lambda: kick(sim), what='first tick')
        yield nodes


def kick(sim):
    if sim.commands == 0:
        sim.emit()
        time.sleep(0.1)
    return sim.commands > 0


def start(operator, start_mode, seed=1, task='place'):
    goal = RunEpisode.Goal(task=task, start_mode=start_mode, seed=seed)
    future = operator.run.send_goal_async(goal)
    wait_for(future.done, what='goal answer')
    assert future.result().accepted
    return future.result()


def result_of(handle):
    future = handle.get_result_async()
    wait_for(future.done, what='result')
    return future.result().result


def mode_is(operator, mode):
    wait_for(lambda: operator.modes[-1].mode == mode, what=f'mode {mode}')


def phase_is(operator, phase):
    wait_for(lambda: operator.states[-1].phase == phase, what=f'phase {phase}')


def label(operator, value):
    answer = call(operator.label, LabelEpisode.Request(
        outcome=Outcome(value=value), operator_name='ann'))
    assert answer.accepted, answer.message


def test_an_episode_with_a_takeover_and_a_handback_never_stalls(stack):
    operator, sim = stack['operator'], stack['sim']
    handle = start(operator, EpisodeState.MODE_POLICY)
    mode_is(operator, ControlMode.POLICY)
    first = sim.tick
    wait_for(lambda: sim.tick > first + 30)
    operator.driving = True
    assert operator.ask(ControlMode.HUMAN, operator_name='ann', source='scripted').accepted
    taken = sim.tick
    wait_for(lambda: sim.tick > taken + 20)
    assert operator.ask(ControlMode.POLICY, operator_name='ann').accepted
    operator.driving = False
    handed = sim.tick
    wait_for(lambda: sim.tick > handed + 20)
    label(operator, Outcome.SUCCESS)
    result = result_of(handle)
    assert (result.outcome.value, result.takeovers) == (Outcome.SUCCESS, 1)
    assert result.stop_reason == EpisodeState.STOP_LABELLED and result.duration > 2.0
    ticks = [tick for tick, _ in operator.executed]
    assert ticks == list(range(ticks[0], ticks[0] + len(ticks))), 'a tick twice or none'
    sources = [SOURCES[source] for _, source in operator.executed]
    assert sources.count('HUMAN') > 15 and sources.count('POLICY') > 45
    driven = sources[sources.index('POLICY'):len(sources) - sources[::-1].index('POLICY')]
    # A tick that stands open when the person takes over is answered at once: by the person's
    # waiting command, or by a hold. Any other hold is a tick that the arbiter ended in the end.
    holds = [index for index, source in enumerate(driven) if source == 'HOLD']
    assert holds in ([], [driven.index('HUMAN') - 1]), 'a tick stood open until it timed out'
    start_, end = operator.interventions
    assert (start_.event, end.event) == (Intervention.STARTED, Intervention.ENDED)
    assert (start_.id, end.end_reason, end.checkpoint) == (end.id, 'handback', 'c0ffee')
    assert 0 < start_.start_tick < end.end_tick and start_.overruled_chunk == 5
    phase_is(operator, EpisodeState.IDLE)  # may come after the result
    phases = [state.phase for state in operator.states if state.episode_id == result.episode_id]
    # A latched topic keeps one message: of two states in a row, the older may be skipped.
    assert [phase for phase in phases if phase in (3, 0)] == [3, 0]
    assert result.episode_id.endswith(f'_{NAMESPACE}_place')


def test_a_demonstration_is_driven_by_the_person_from_the_first_tick(stack):
    operator, sim = stack['operator'], stack['sim']
    operator.driving = True
    handle = start(operator, EpisodeState.MODE_HUMAN)
    mode_is(operator, ControlMode.HUMAN)
    first = sim.tick
    wait_for(lambda: sim.tick > first + 20)
    label(operator, Outcome.FAILURE)
    result = result_of(handle)
    assert (result.outcome.value, result.takeovers) == (Outcome.FAILURE, 0)
    mode_is(operator, ControlMode.HOLD)


def test_the_time_limit_runs_on_simulated_time_and_the_label_follows(stack):
    operator = stack['operator']
    handle = start(operator, EpisodeState.MODE_POLICY)
    phase_is(operator, EpisodeState.LABELLING)
    state = operator.states[-1]
    assert state.stop_reason == EpisodeState.STOP_TIME_LIMIT
    mode_is(operator, ControlMode.HOLD)
    label(operator, Outcome.SUCCESS)
    result = result_of(handle)
    assert result.stop_reason == EpisodeState.STOP_TIME_LIMIT
    assert result.outcome.value == Outcome.SUCCESS
    assert result.duration == pytest.approx(20.0, abs=0.2)


@pytest.mark.parametrize(('task', 'seed', 'words'), [
    ('dance', 1, "unknown task 'dance', tasks are place"),
    ('place', 666, 'reset_scene failed: no such seed')])
def test_what_cannot_run_is_refused_with_its_reason(stack, task, seed, words):
    operator = stack['operator']
    result = result_of(start(operator, EpisodeState.MODE_POLICY, seed, task))
    assert words in result.message
    phase_is(operator, EpisodeState.IDLE)


def test_cancelling_stops_the_episode(stack):
    operator = stack['operator']
    handle = start(operator, EpisodeState.MODE_POLICY)
    mode_is(operator, ControlMode.POLICY)
    handle.cancel_goal_async()
    phase_is(operator, EpisodeState.LABELLING)
    mode_is(operator, ControlMode.HOLD)
    label(operator, Outcome.DISCARDED)
    assert result_of(handle).stop_reason == EpisodeState.STOP_REQUESTED


@pytest.mark.parametrize('stack', [0.3], indirect=True)
def test_a_silent_policy_stalls_nothing_and_ends_in_hold(stack):
    operator, policy = stack['operator'], stack['policy']
    handle = start(operator, EpisodeState.MODE_POLICY)
    mode_is(operator, ControlMode.POLICY)
    policy.silent = True
    mode_is(operator, ControlMode.HOLD)
    assert operator.modes[-1].reason.startswith(('policy silent', 'policy starved'))
    label(operator, Outcome.DISCARDED)
    result_of(handle)


def test_an_emergency_stop_ends_the_episode_and_stays(stack):
    operator = stack['operator']
    handle = start(operator, EpisodeState.MODE_POLICY)
    mode_is(operator, ControlMode.POLICY)
    assert operator.ask(ControlMode.ESTOP).accepted
    phase_is(operator, EpisodeState.LABELLING)
    label(operator, Outcome.FAILURE)
    assert result_of(handle).stop_reason == EpisodeState.STOP_ESTOP
    assert not operator.ask(ControlMode.HUMAN).accepted
    assert operator.ask(ControlMode.HOLD).accepted
