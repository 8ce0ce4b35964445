# SPDX-License-Identifier: Apache-2.0
"""The graphs by name. Arguments are only what differs by deployment; the rest is in config/."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from lwd_bringup.graph import nodes
from lwd_bringup.graph.spec import Argument, Graph, GraphError, GraphTemplate, NodeSpec
from lwd_bringup.graph.validate import validate
from lwd_bringup.paths import config_dir, default_store
from lwd_core.store import is_bucket

STORE = Argument('store', '', 'folder, or S3 URL of a bucket, that robots and learner share '
                 '(default: ./data/store)')
LOCAL_STORE = Argument('local_store', '', 'folder for finished episodes until an uploader has '
                       'brought them to the store (default: ./data/local if that is a bucket)')
ROBOT = Argument('robot', 'robot1', 'name of the robot: its namespace and its folder in the store')
ROBOT_FILE = Argument('robot_file', '', 'robot YAML (default: config/robots/sim.yaml)')
TASKS_FILE = Argument('tasks_file', '', 'task YAML (default: config/tasks/sim.yaml)')
OBSERVATION = Argument('observation', 'state', 'what the policy sees', ('state', 'pixels'))
OPERATOR = Argument('operator', 'none', 'scripted operator: demonstrate drives every episode, '
                    'supervise watches the policy and takes over',
                    ('none', 'demonstrate', 'supervise'))
TASKS = Argument('tasks', 'place', "the operator's tasks, comma separated")
EPISODES = Argument('episodes', 0, 'episodes the operator runs, 0: until stopped')
SEED = Argument('seed', 100_000, 'seed of the first start configuration')
SPEED = Argument('real_time_factor', 0.0, 'cap on simulated s per s; 0: as fast as possible')
USE_SIM_TIME = Argument('use_sim_time', False, 'follow /ROBOT/clock instead of wall time')
DEFAULT_LOCAL_STORE = 'data/local'
BESIDE_ROBOTS = 5  # niceness of the learner where real robots may share the machine
BESIDE_LEARNER = 5  # niceness of simulated robots: in lockstep they wait for whoever is late
POLICY = Argument('policy', True, 'start the policy node')
SHADOW = Argument('shadow', True, 'the policy goes on planning while a person drives; what it '
                  'would have done is recorded (lwd takeovers)')

TELEOP = Argument('teleop', 'none', 'what a person drives with; joystick: the gamepad or '
                  'SpaceMouse that is plugged in; leader: leader arms, deadman on the joystick', (
                      'none', 'joystick', 'keyboard', 'xbox', 'ps4', 'ps5', 'f710', 'spacemouse',
                      'leader'))
JOY = Argument('joy', True, "read the device here; false: ROS's joy or another node publishes joy")
PERSON = Argument('operator_name', 'operator', 'who drives, in takeovers and labels')
ARMS_FILE = Argument('arms_file', '', 'arms YAML for teleoperation (default: the file in '
                     'config/teleop/arms that is called like the robot file)')
OPERATOR_TELEOP = Argument('operator_teleop', 'direct', 'how the scripted operator moves the arms: '
                           'joint targets, or a virtual joystick through Joy, IK and deadman',
                           ('direct', 'joystick'))
JOYSTICK_TASKS = Argument('joystick_tasks', '', 'tasks he drives with the virtual joystick, comma '
                          'separated; all if empty')
PERSONS_TIME = 120.0  # s for an episode a person drives in the simulation: tasks count on experts

WORK_DIR = Argument('work_dir', 'data/learner',
                    "the learner's own folder: index, replay, resume state")
LEARNER_CONFIG = Argument('learner_config', '', "learner YAML (default: the learner's defaults)")

_ROBOT_ARGUMENTS = (ROBOT, ROBOT_FILE, TASKS_FILE, STORE, LOCAL_STORE, OBSERVATION, POLICY)
_OPERATOR_ARGUMENTS = (OPERATOR, TASKS, EPISODES, SEED, SPEED, OPERATOR_TELEOP, JOYSTICK_TASKS,
                       ARMS_FILE)
_PERSON_ARGUMENTS = (TELEOP, JOY, PERSON)


def _deployment(values: dict[str, Any]) -> nodes.Deployment:
    robots, tasks = config_dir() / 'robots', config_dir() / 'tasks'
    return nodes.Deployment(
        robot=values['robot'], use_sim_time=values.get('use_sim_time', True),
        robot_file=nodes.absolute(values['robot_file'] or str(robots / 'sim.yaml')),
        tasks_file=nodes.absolute(values['tasks_file'] or str(tasks / 'sim.yaml')),
        store=nodes.absolute(values['store'] or default_store()),
    )


def _recording(values: dict[str, Any], at: nodes.Deployment) -> tuple[NodeSpec, ...]:
    """Return the recorder, and where it does not reach the store itself the uploader."""
    local = values['local_store'] or (DEFAULT_LOCAL_STORE if is_bucket(at.store) else '')
    if not local:
        return (nodes.recorder(at),)
    both = {'local_store': nodes.absolute(local)}
    return nodes.recorder(at, **both), nodes.uploader(at, **both)


def _stack(values: dict[str, Any], at: nodes.Deployment, simulated: bool) -> tuple[NodeSpec, ...]:
    """Return what runs beside every robot, simulated or not."""
    has_policy = values['policy']
    stack = (
        nodes.arbiter(at, require_policy=has_policy),
        nodes.episode(at, require_recorder=True, require_policy=has_policy,
                      use_reset_scene=simulated),
        *_recording(values, at),
    )
    if not has_policy:
        return stack
    # A fleet in simulation runs as fast as it can: there the shadow would cost training time.
    return (*stack, nodes.policy(at, observation=values['observation'],
                                 shadow=values.get('shadow', False)))


def _arms_file(values: dict[str, Any], at: nodes.Deployment) -> str:
    named = values['arms_file']
    path = Path(named) if named else config_dir() / 'teleop' / 'arms' / Path(at.robot_file).name
    if not path.is_file():
        raise GraphError(f"argument 'arms_file': no {path}; teleoperation needs a YAML that names "
                         "the model, tool and base of each arm (see config/teleop/arms/sim.yaml)")
    return nodes.absolute(str(path))


def _person(values: dict[str, Any], at: nodes.Deployment, **more: Any) -> tuple[NodeSpec, ...]:
    """Return what a person drives with."""
    device = values['teleop']
    if device == 'none':
        return ()
    mapping = 'auto' if device in ('joystick', 'leader') else device
    tasks = _task_list(values.get('tasks', ''))
    driver = nodes.teleop(
        at, mapping=mapping, source='leader' if device == 'leader' else 'joystick',
        arms_file=_arms_file(values, at), operator_name=values['operator_name'],
        task=tasks[0] if tasks else '', start_mode='policy' if values['policy'] else 'human',
        **more)
    return (driver, nodes.joy(at, mapping=mapping)) if values['joy'] else (driver,)


def _task_list(text: str) -> list[str]:
    return [task.strip() for task in text.split(',') if task.strip()]


def _robot(**values: Any) -> tuple[NodeSpec, ...]:
    at = _deployment(values)
    return (*_stack(values, at, simulated=False), *_person(values, at))


def _sim(**values: Any) -> tuple[NodeSpec, ...]:
    at = _deployment(values)
    by_hand = values.get('teleop', 'none') != 'none'
    speed = values['real_time_factor']
    simulated = nodes.sim_robot(at, observation=values['observation'],
                                real_time_factor=1.0 if by_hand and speed == 0.0 else speed)
    stack = (simulated, *_stack(values, at, simulated=True))
    if by_hand:
        if values['operator'] != 'none':
            raise GraphError(f"argument 'teleop': {values['teleop']!r} and operator "
                             f"{values['operator']!r} both drive; choose one")
        return (*stack, *_person(values, at, time_limit=PERSONS_TIME), nodes.view(at))
    if values['operator'] == 'none':
        return stack
    return (*stack, *_scripted(values, at))


def _scripted(values: dict[str, Any], at: nodes.Deployment) -> tuple[NodeSpec, ...]:
    """Return the scripted operator, with a virtual joystick where he is to drive like a person."""
    person = nodes.operator(
        at, mode=values['operator'], seed=values['seed'], episodes=values['episodes'],
        tasks=_task_list(values['tasks']), teleop=values['operator_teleop'],
        joystick_tasks=_task_list(values['joystick_tasks']))
    if values['operator_teleop'] == 'direct':
        return (person,)
    return (person, nodes.teleop(at, mapping='scripted', arms_file=_arms_file(values, at),
                                 operator_name='scripted', await_joy=True))


def _learner(**values: Any) -> tuple[NodeSpec, ...]:
    at = _deployment({**values, 'robot': 'lwd', 'use_sim_time': False})
    learner = nodes.learner(at, work_dir=nodes.absolute(values['work_dir']),
                            observation=values['observation'], seed=values['seed'],
                            config=nodes.absolute(values['learner_config']), niceness=0)
    return (replace(learner, niceness=values.get('niceness', BESIDE_ROBOTS)),)


def _sim_fleet(**values: Any) -> tuple[NodeSpec, ...]:
    if not 1 <= values['robots'] <= 16:
        raise GraphError(f"argument 'robots': {values['robots']} is outside 1 to 16")
    fleet: list[NodeSpec] = []
    for index in range(values['robots']):
        # Robots of a fleet never see the same start: each has its own range of seeds.
        own = {**values, 'robot': f'robot{index + 1}',
               'seed': values['seed'] + index * values['seed_stride']}
        robot = _sim(**own)
        if values['learner']:
            robot = tuple(_stepping_back(node) for node in robot)
        fleet.extend(robot)
    if values['learner']:
        fleet.extend(_learner(**{**values, 'seed': values['learner_seed'], 'niceness': 0}))
    return tuple(fleet)


def _stepping_back(node: NodeSpec) -> NodeSpec:
    """Let a simulated robot's node step back for the learner, unless nobody waits for it.

    Lockstep waits for commands, never for the recorder: what arrives while it has no processor
    fills the shared memory of DDS in a third of a second, and is lost.
    """
    return node if node.name == 'recorder' else replace(node, niceness=BESIDE_LEARNER)


def _replay(**values: Any) -> tuple[NodeSpec, ...]:
    if not values['bag']:
        raise GraphError("argument 'bag': name an episode folder or an .mcap file to replay")
    bag = nodes.absolute(values['bag'])
    if values['shadow']:
        return _shadow(bag, values)
    topics = [topic.strip() for topic in values['topics'].split(',') if topic.strip()]
    return (nodes.replay(
        values['robot'], bag=bag, rate=values['rate'], start=values['start'], loop=values['loop'],
        topics=topics or ['*'], namespace=values['namespace'], timing=values['timing'],
        force=values['force']),)


def _shadow(bag: str, values: dict[str, Any]) -> tuple[NodeSpec, ...]:
    """Return a policy node and what shows it the bag, away from every robot's namespace."""
    at = _deployment({**values, 'robot': values['namespace'] or f'shadow_{values["robot"]}',
                      'tasks_file': ''})
    at = replace(at, tasks_file='')
    # A tick is answered when its samples are there, however long they take on a busy machine.
    policy = nodes.policy(at, checkpoint=values['shadow'], shadow=True, join_wait=0.5,
                          observation='any', stall_timeout=60.0, backend=values['backend'])
    shower = nodes.shadow(
        at.robot, bag=bag, checkpoint=values['shadow'], store=at.store,
        robot_file=nodes.absolute(values['robot_file']),
        out=nodes.absolute(values['out'] or f'results/shadow/{Path(bag).name}'))
    return policy, shower


_LEARNER_ARGUMENTS = (
    STORE, ROBOT_FILE, TASKS_FILE, OBSERVATION, WORK_DIR, LEARNER_CONFIG,
    Argument('seed', 0, 'seed of training'),
)

GRAPHS: dict[str, GraphTemplate] = {
    template.name: template for template in (
        GraphTemplate('robot', 'One robot whose driver is already running: arbiter, episodes, '
                      'recorder and policy.', (
                          *_ROBOT_ARGUMENTS, SHADOW, USE_SIM_TIME, *_PERSON_ARGUMENTS,
                          ARMS_FILE,
                          Argument('tasks', '', 'task that the start button runs')), _robot),
        GraphTemplate('sim', 'One simulated robot with everything around it.',
                      (*_ROBOT_ARGUMENTS, SHADOW, *_OPERATOR_ARGUMENTS, *_PERSON_ARGUMENTS), _sim),
        GraphTemplate('sim_fleet', 'Simulated robots with their operators, and the learner.', (
            Argument('robots', 2, 'number of simulated robots'), *_ROBOT_ARGUMENTS[1:],
            *_OPERATOR_ARGUMENTS,
            Argument('seed_stride', 100_000, 'distance between the seeds of two robots'),
            Argument('learner', True, 'start the learner too'),
            WORK_DIR, LEARNER_CONFIG, Argument('learner_seed', 0, 'seed of training')), _sim_fleet),
        GraphTemplate('learner', 'The learner: ingests every episode once, trains, publishes.',
                      _LEARNER_ARGUMENTS, _learner),
        GraphTemplate('replay', 'Publish a recorded episode again, or show it to a policy.', (
            Argument('bag', '', 'episode folder or .mcap file'), ROBOT,
            Argument('rate', 1.0, 'speed, 1: as recorded'),
            Argument('start', 0.0, 'offset into the recording, s'),
            Argument('loop', False, 'start again at the end'),
            Argument('topics', '', 'topics to publish, comma separated; all but commands if '
                     'empty'),
            Argument('namespace', '', 'namespace to publish into; as recorded if empty'),
            Argument('timing', 'auto', 'what paces: time of receiving or header stamps',
                     ('auto', 'received', 'stamps')),
            Argument('force', False, 'publish beside other nodes of the same namespace'),
            Argument('shadow', '', 'digest of a checkpoint: show the episode to it in a namespace '
                     'of its own and compare what it would do'),
            STORE, ROBOT_FILE,
            Argument('backend', 'eager', 'what computes in shadow; to get the same bits, what '
                     'computed then: policy/status in the bag names it'),
            Argument('out', '', 'folder of the comparison (default: results/shadow/BAG)')),
            _replay),
    )
}


def build_graph(name: str, packages: list[str] | None = None, **values: Any) -> Graph:
    """
    Fill in a graph's arguments and validate it; `packages` as in `validate`.

    Raises GraphError for an unknown graph or argument, or a value out of bounds.
    """
    template = GRAPHS.get(name)
    if template is None:
        raise GraphError(f"no graph '{name}'; there are {', '.join(GRAPHS)}")
    known = {argument.name: argument for argument in template.arguments}
    for key in values:
        if key not in known:
            raise GraphError(f"graph '{name}' has no argument '{key}'; it has {', '.join(known)}")
    filled = {key: argument.parse(values.get(key, argument.default))
              for key, argument in known.items()}
    return validate(Graph(name, filled, template.build(**filled)), packages)
