# SPDX-License-Identifier: Apache-2.0
from diagnostic_msgs.msg import DiagnosticStatus
import pytest

from lwd_core.task import TaskSpec
from lwd_intervention.arbiter.messages import readiness
from lwd_intervention.episode.diagnostics import episode_status
from lwd_intervention.episode.machine import EpisodeMachine
from lwd_intervention.episode.open_takeover import OpenTakeover
from lwd_intervention.episode.readiness import EpisodeConfig
from lwd_intervention.episode.requests import Refused, Start
from lwd_intervention.episode.state import EpisodeIds, Outcome, Phase, Stop
from lwd_intervention.modes import Mode
from lwd_msgs.msg import Intervention, PolicyStatus

S = 1_000_000_000
TASKS = {'place': TaskSpec('place', 'place the can', 10.0, stages=('grasp', 'place')),
         'crate': TaskSpec('crate', 'lift the crate', 12.0)}


class Run:
    """A machine with its clocks; everything it needs is there unless told otherwise."""

    def __init__(self, **config):
        self.machine = EpisodeMachine(EpisodeConfig('arm1', **config), TASKS)
        self.wall, self.states = 0.0, []
        self.machine.on_tick(100 * S, self.wall)
        self.do('on_mode', Mode.HOLD, '')
        self.do('on_policy', True, '')

    def do(self, event, *args):
        out = getattr(self.machine, event)(*args, self.wall)
        self.states += out
        return out

    def start(self, task='place', **fields):
        out = self.machine.start(Start(task, **fields), self.wall, 1_795_357_000_123)
        self.states += out
        return self.machine.state.id

    def record(self):
        return self.do('on_recorder', self.machine.state.id, '')

    def running(self, **fields):
        episode = self.start(**fields)
        self.record()
        self.do('on_mode', Mode.POLICY, '')
        assert self.phase is Phase.RUNNING
        return episode

    def label(self, outcome=Outcome.SUCCESS, scores=(), episode=''):
        return self.do('label', episode, outcome, scores, 'ann', '')

    def stands(self):
        return self.do('on_mode', Mode.HOLD, '')

    @property
    def state(self):
        return self.machine.state

    @property
    def phase(self):
        return self.machine.state.phase


def test_an_episode_from_reset_to_label():
    run = Run(reset_scene=True)
    episode = run.start()
    run.do('on_reset_done', episode, True, '')
    run.record()
    for _ in range(5):
        assert run.phase is Phase.READY
        run.do('on_tick', 100 * S)
    run.do('on_mode', Mode.POLICY, '')
    run.machine.on_tick(104 * S, run.wall)
    run.label(Outcome.SUCCESS, (1.0, 0.5))
    run.stands()
    assert [state.phase.name for state in run.states] == [
        'RESETTING', 'READY', 'RUNNING', 'LABELLING', 'IDLE']
    assert (run.state.outcome, run.state.stop) == (Outcome.SUCCESS, Stop.LABELLED)
    assert (run.state.started_ns, run.state.ended_ns) == (100 * S, 104 * S)
    assert (run.state.substep_scores, run.state.labelled_by) == ((1.0, 0.5), 'ann')
    assert run.state.instruction == 'place the can' and run.state.time_limit == 10.0


@pytest.mark.parametrize(('end', 'stop'), [
    (lambda run: run.machine.on_tick(110 * S, 0.0), Stop.TIME_LIMIT),
    (lambda run: run.do('stop', 'enough'), Stop.REQUESTED),
    (lambda run: run.do('on_mode', Mode.ESTOP, 'button'), Stop.ESTOP),
    (lambda run: run.machine.on_tick(5 * S, 0.0), Stop.FAULT),
])
@pytest.mark.parametrize('outcome', [Outcome.SUCCESS, Outcome.FAILURE, Outcome.DISCARDED])
def test_the_outcome_is_independent_of_why_it_stopped(end, stop, outcome):
    run = Run()
    run.running()
    end(run)
    assert run.phase is Phase.LABELLING
    run.label(outcome)
    run.stands()
    assert (run.phase, run.state.stop, run.state.outcome) == (Phase.IDLE, stop, outcome)


def test_the_first_tick_shows_the_scene_after_the_reset():
    run = Run(reset_scene=True, require_recorder=False, settle_ticks=4)
    episode = run.start()
    run.do('on_tick', 101 * S)
    run.do('on_reset_done', episode, True, '')  # during tick 101 or 102
    for k in range(102, 106):
        run.do('on_tick', k * S)
        assert run.phase is Phase.READY
    run.do('on_tick', 106 * S)
    assert run.phase is Phase.RUNNING and run.state.started_ns == 106 * S


def test_without_a_label_in_time_it_stays_unlabelled():
    run = Run(label_timeout=30.0)
    run.running()
    run.do('stop', '')
    run.stands()
    run.wall = 29.0
    assert run.do('on_wall') == []
    run.wall = 31.0
    run.do('on_wall')
    assert (run.phase, run.state.outcome) == (Phase.IDLE, Outcome.UNLABELLED)


def test_the_bag_stays_open_until_the_arbiter_stands_but_not_forever():
    run = Run()
    run.running()
    run.label()
    assert run.phase is Phase.LABELLING
    run.wall = 0.5
    assert run.do('on_wall') == []
    run.wall = 1.5
    run.do('on_wall')
    assert (run.phase, run.state.outcome) == (Phase.IDLE, Outcome.SUCCESS)


@pytest.mark.parametrize(('config', 'prepare', 'words'), [
    ({}, lambda run: None, 'the recorder does not record: is it running?'),
    ({}, lambda run: run.do('on_recorder', '', 'disk full'), 'disk full'),
    ({}, lambda run: (run.record(), None), ''),
    ({'require_recorder': False}, lambda run: None, ''),
])
def test_ready_waits_for_the_recorder_and_says_what_is_missing(config, prepare, words):
    run = Run(prepare_timeout=5.0, **config)
    run.start()
    prepare(run)
    if words == '':
        assert run.phase is Phase.RUNNING
        return
    assert run.phase is Phase.READY
    run.wall = 6.0
    run.do('on_wall')
    assert run.phase is Phase.IDLE and words in run.state.detail
    assert (run.state.outcome, run.state.stop) == (Outcome.DISCARDED, Stop.FAULT)


def test_a_recorder_that_records_another_episode_is_not_ready():
    run = Run()
    run.start()
    run.do('on_recorder', 'another', '')
    assert run.phase is Phase.READY


def test_the_policy_must_be_ready_only_if_it_starts():
    run = Run(require_recorder=False)
    run.do('on_policy', False, 'no checkpoint')
    run.start(start_mode=Mode.POLICY)
    assert run.phase is Phase.READY
    run.do('on_policy', True, '')
    assert run.phase is Phase.RUNNING
    run = Run(require_recorder=False)
    run.do('on_policy', False, 'no checkpoint')
    run.start(start_mode=Mode.HUMAN)
    assert run.phase is Phase.RUNNING


@pytest.mark.parametrize(('fields', 'words'), [
    ({'task': 'dance'}, "unknown task 'dance', tasks are crate, place"),
    ({'time_limit': -1.0}, 'time_limit: -1.0 s'),
    ({'time_limit': float('nan')}, 'time_limit: nan s'),
    ({'start_mode': 3}, 'start_mode: 3'),
])
def test_a_bad_start_is_refused_and_nothing_changes(fields, words):
    run = Run()
    with pytest.raises(Refused, match=words):
        run.start(**fields)
    assert run.phase is Phase.IDLE and run.states == []


def test_only_one_episode_at_a_time():
    run = Run()
    episode = run.running()
    with pytest.raises(Refused, match=f'{episode} is RUNNING'):
        run.start()


def test_no_start_while_the_emergency_stop_is_active():
    run = Run()
    run.do('on_mode', Mode.ESTOP, 'button')
    with pytest.raises(Refused, match='emergency stop'):
        run.start()


@pytest.mark.parametrize(('outcome', 'scores', 'words'), [
    (Outcome.UNLABELLED, (), 'outcome 0 is no label'),
    (9, (), 'outcome 9 is no label'),
    (Outcome.FAILURE, (1.0,), '1 given, task place has 2 stages'),
    (Outcome.FAILURE, (1.0, 0.7), 'substep_scores: 0.7'),
])
def test_a_bad_label_is_refused_and_the_episode_goes_on(outcome, scores, words):
    run = Run()
    run.running()
    with pytest.raises(Refused, match=words):
        run.label(outcome, scores)
    assert run.phase is Phase.RUNNING


def test_a_label_never_crosses_the_boundary_of_an_episode():
    run = Run()
    first = run.running()
    run.label(Outcome.FAILURE)
    with pytest.raises(Refused, match='is labelled FAILURE already'):
        run.label(Outcome.SUCCESS)
    run.stands()
    with pytest.raises(Refused, match='no episode is active'):
        run.label(Outcome.SUCCESS)
    second = run.start()
    with pytest.raises(Refused, match='has not run yet'):
        run.label(Outcome.SUCCESS)
    run.record()
    with pytest.raises(Refused, match=f'{first} is not the current one, which is {second}'):
        run.label(Outcome.SUCCESS, episode=first)
    assert run.state.outcome is Outcome.UNLABELLED


def test_what_is_discarded_before_it_ran_never_counts():
    run = Run()
    run.start()
    run.do('discard', '', 'ann', 'wrong object')
    assert (run.phase, run.state.outcome) == (Phase.IDLE, Outcome.DISCARDED)


def test_success_by_topic_needs_a_rise_within_the_episode():
    run = Run(auto_success=True)
    run.do('on_success', True)  # of the episode before
    run.running()
    run.do('on_success', True)
    assert run.phase is Phase.RUNNING
    run.do('on_success', False)
    run.do('on_success', True)
    assert (run.state.outcome, run.state.labelled_by) == (Outcome.SUCCESS, 'success topic')


def test_with_automatic_success_the_time_limit_is_a_failure():
    run = Run(auto_success=True)
    run.running()
    run.machine.on_tick(110 * S, 0.0)
    assert (run.state.outcome, run.state.stop) == (Outcome.FAILURE, Stop.TIME_LIMIT)


def test_success_by_topic_is_ignored_unless_configured():
    run = Run()
    run.running()
    run.do('on_success', False)
    run.do('on_success', True)
    assert run.phase is Phase.RUNNING


def test_a_reset_without_an_answer_gives_up_and_a_late_answer_changes_nothing():
    run = Run(reset_scene=True, reset_timeout=5.0)
    episode = run.start()
    run.wall = 6.0
    run.do('on_wall')
    assert run.phase is Phase.IDLE and 'gave no answer' in run.state.detail
    assert run.do('on_reset_done', episode, True, '') == []


@pytest.mark.parametrize('lost', ['clock', 'arbiter'])
def test_a_running_episode_ends_when_the_robot_is_gone(lost):
    run = Run(loss_timeout=15.0)
    run.running()
    for second in range(20):
        run.wall = float(second)
        run.machine.on_arbiter(lost != 'arbiter')
        if lost != 'clock':
            run.machine.on_tick(101 * S, run.wall)
        run.do('on_wall')
    assert (run.phase, run.state.stop) == (Phase.LABELLING, Stop.FAULT)
    assert run.state.detail == f'no {lost} for 16 s'


def test_takeovers_are_counted_for_their_episode():
    run = Run()
    episode = run.running()
    run.machine.on_takeover(episode)
    run.machine.on_takeover('another')
    assert run.machine.takeovers == 1


def test_ids_sort_by_time_and_never_repeat():
    ids = EpisodeIds('arm1')
    made = [ids.make('place', ms) for ms in (1_795_357_000_123, 1_795_357_000_123, 1_795_357_000_0)]
    assert made[0] == '20261122T141640.123Z_arm1_place'
    assert made == sorted(made) and len(set(made)) == 3


def test_a_button_held_across_the_boundary_labels_nothing():
    run = Run()
    run.running()
    run.label(Outcome.SUCCESS)  # and the button repeats, four times a second
    run.stands()
    for start in (False, True, False, False):
        run.wall += 0.25
        with pytest.raises(Refused):
            run.label(Outcome.SUCCESS)
        if start:
            run.start()
            run.record()
    assert run.phase is Phase.RUNNING and run.state.outcome is Outcome.UNLABELLED
    with pytest.raises(Refused, match='let go and press again'):
        run.label(Outcome.SUCCESS)
    run.wall += 1.0
    run.label(Outcome.FAILURE)
    assert run.state.outcome is Outcome.FAILURE


def test_a_press_that_names_its_episode_counts_whatever_was_pressed_before():
    run = Run()
    with pytest.raises(Refused):
        run.label(Outcome.FAILURE)
    run.running()
    run.label(Outcome.SUCCESS, episode=run.state.id)
    assert run.state.outcome is Outcome.SUCCESS


def test_a_held_discard_does_not_end_the_next_episode_before_it_ran():
    run = Run()
    run.running()
    run.do('discard', '', 'ann', 'spilled')
    run.stands()
    run.wall += 0.2
    run.start()
    with pytest.raises(Refused, match='let go first'):
        run.do('discard', '', 'ann', '')
    run.wall += 0.7
    run.do('discard', '', 'ann', 'again')
    assert (run.phase, run.state.outcome) == (Phase.IDLE, Outcome.DISCARDED)


def test_a_detector_that_is_asked_or_calls_ends_its_episode_as_a_success():
    run = Run(ask_success=True)
    first = run.running()
    with pytest.raises(Refused, match='not the current one'):
        run.do('on_success_service', 'another', '')
    run.do('on_success_service', first, 'can in slot')
    assert (run.state.outcome, run.state.labelled_by) == (Outcome.SUCCESS, 'success service')
    assert 'can in slot' in run.state.detail and run.state.stop is Stop.LABELLED
    run.stands()
    with pytest.raises(Refused, match='no episode is'):
        run.do('on_success_service', '', '')
    run.running()
    run.machine.on_tick(110 * S, 0.0)
    assert (run.state.outcome, run.state.stop) == (Outcome.FAILURE, Stop.TIME_LIMIT)


@pytest.mark.parametrize(('status', 'said'), [
    (PolicyStatus(state=PolicyStatus.ACTING), (True, '')),
    (PolicyStatus(state=PolicyStatus.LOADING), (False, 'it loads its checkpoint')),
    (PolicyStatus(state=PolicyStatus.NO_POLICY, reason='refused: x'), (False, 'refused: x'))])
def test_a_policy_that_is_not_ready_says_why(status, said):
    assert readiness(status) == said


def started(id_=4):
    return Intervention(event=Intervention.STARTED, id=id_, episode_id='e1', operator_name='ann',
                        source='pad', reason='slips', start_tick=30, checkpoint='c0ffee',
                        overruled_chunk=9)


def test_a_takeover_whose_arbiter_is_gone_gets_an_end_with_every_field():
    takeover = OpenTakeover()
    takeover.take(started())
    end = takeover.lost('arbiter lost', 5 * S, 55)
    assert (end.event, end.end_reason, end.end_tick) == (Intervention.ENDED, 'arbiter lost', 55)
    assert (end.header.stamp.sec, end.id, end.reason, end.overruled_chunk) == (5, 4, 'slips', 9)
    assert takeover.lost('arbiter lost', 6 * S, 60) is None


def test_a_takeover_that_its_arbiter_ended_is_left_alone():
    takeover = OpenTakeover()
    takeover.take(started())
    takeover.take(Intervention(event=Intervention.ENDED, id=4))
    assert not takeover.is_open and takeover.lost('arbiter lost', 0, 0) is None


def test_diagnostics_say_what_is_waited_for_and_what_went_wrong():
    run = Run()
    run.start()
    status = episode_status('/arm1/episode', run.machine, 0.0)
    assert status.level == DiagnosticStatus.WARN and 'recorder' in status.message
    assert status.name == 'arm1/episode: episode'
    run.record()
    assert episode_status('/arm1/episode', run.machine, 0.0).level == DiagnosticStatus.OK
    run.machine.on_tick(5 * S, 0.0)
    assert episode_status('/arm1/episode', run.machine, 0.0).level == DiagnosticStatus.ERROR
