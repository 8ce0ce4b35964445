# SPDX-License-Identifier: Apache-2.0
"""The inference worker: loads policies and turns observations into chunks, in its own process.

    request                               reply
    load  {digest, uri, store, ...}       loaded {digest, again, ...}     | refused {digest, reason}
    act   {id, digest, seed, ...} arrays  chunk {id, inference_s} actions | failed {id, reason}
    drop  {digest}                        -

Loading runs in a thread beside acting, so that the old policy goes on while a new one is warmed.
It does not step back behind the acting thread: both need the interpreter, and who holds it at a low
priority keeps the other one waiting. While nothing can act the robot stands, and the whole worker
runs at the node's priority. What is dropped is taken apart when nothing is asked for: that of a
graph of thousands of nodes holds the interpreter for 0.15 s of CPU.
Run as `python -m lwd_policy_node.worker FD LOADER ARENA_FD NICENESS`; it ends when the other side
closes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
import gc
from importlib import import_module
from multiprocessing.connection import Connection
import sys
import threading
import time

import numpy as np

from lwd_core.checkpoint import CheckpointError
from lwd_core.chunks.continuation import Continuation
from lwd_core.observation import decoded, Observation
from lwd_core.priority import step_back_all
from lwd_core.robot import RobotSpec
from lwd_core.store import StoreAwayError
from lwd_policy_node.arena import Arena
from lwd_policy_node.loading import Acting, Loaded, LoadRequest
from lwd_policy_node.wire import decode, encode, Frame

Loader = Callable[[LoadRequest], Loaded]
DEFAULT_LOADER = 'lwd_policy_node.loading:load'
LOAD_THREAD = 'policy-load'
AWAY = (StoreAwayError, ConnectionError)  # say nothing of the policy: it is tried again
IDLE_S = 1.0  # without a frame: nothing acts
KEPT_APART = 2  # dropped policies that wait for that; each may be hundreds of megabytes
SWITCH_INTERVAL_S = 1e-4  # how long a loading thread may keep the interpreter from the acting one


class WorkerCore:
    """Answers frames by frames; knows nothing of processes."""

    def __init__(self, loader: Loader, reply: Callable[[Frame], None],
                 on_first: Callable[[], None] = lambda: None) -> None:
        """`on_first` is called when there is a policy that can act."""
        self._loader = loader
        self._reply = reply
        self._on_first = on_first
        self._policies: dict[str, Acting] = {}
        self._dropped: list[Acting] = []
        self._loading = threading.Lock()  # one load at a time

    def handle(self, frame: Frame) -> None:
        """Answer one frame; loads are answered later, from their own thread."""
        if frame.kind == 'act':
            self._act(frame)
        elif frame.kind == 'load':
            threading.Thread(target=self._load, args=(frame,), name=LOAD_THREAD,
                             daemon=True).start()
        elif frame.kind == 'drop':
            self._drop(frame.fields['digest'])

    @property
    def patience(self) -> float | None:
        """Return after how long [s] without a frame `clean` is to be called; None: never."""
        return IDLE_S if self._dropped else None

    def clean(self) -> None:
        """Take apart what was dropped."""
        self._dropped.clear()

    def _drop(self, digest: str) -> None:
        policy = self._policies.pop(digest, None)
        if policy is not None:
            self._dropped.append(policy)
            del self._dropped[:-KEPT_APART]

    def _act(self, frame: Frame) -> None:
        fields = frame.fields
        try:
            started = time.perf_counter()
            policy, continuation = self._policies[fields['digest']], continuation_of(frame)
            more = () if continuation is None else (continuation,)
            actions = policy.act(observation_of(frame), fields['seed'], *more)
            elapsed = time.perf_counter() - started
        except Exception as error:  # whatever a model raises, the worker lives on
            reason = f'{type(error).__name__}: {error}'
            self._reply(Frame('failed', {'id': fields['id'], 'reason': reason}))
            return
        reply = {'id': fields['id'], 'inference_s': elapsed,
                 'sections': dict(getattr(policy, 'seconds', {}))}
        self._reply(Frame('chunk', reply, {'actions': np.asarray(actions, np.float32)}))

    def _load(self, frame: Frame) -> None:
        fields = frame.fields
        try:
            request = LoadRequest(**{**fields, 'robot': RobotSpec.from_dict(fields['robot'])})
            with self._loading:
                hurry = not self._policies and request.measured not in ('', 'eager')
                loaded = self._loader(replace(request, backend='eager') if hurry else request)
                # A loader that knows no backends (a policy server's) has loaded all there is.
                hurry = hurry and loaded.backend == 'eager'
        except Exception as error:  # a candidate must never take the acting policy down
            known = isinstance(error, (CheckpointError, *AWAY))
            reason = str(error) if known else f'{type(error).__name__}: {error}'
            self._reply(Frame('refused', {
                'digest': fields['digest'], 'reason': reason,
                'away': isinstance(error, AWAY)}))
            return
        first = not self._policies
        self._policies[loaded.digest] = loaded.policy
        if first:
            self._on_first()
        if not hurry:
            self._reply(_loaded_frame(loaded))
            return
        loaded = replace(loaded, measured=request.measured, note=(
            'at once after a restart; ' + ('the fastest is being measured'
                                           if request.measured == 'auto' else
                                           f'{request.measured} is being built')))
        self._reply(_loaded_frame(loaded))
        self._hasten(request, loaded)

    def _hasten(self, request: LoadRequest, acting: Loaded) -> None:
        """Build the fast backend while the eager one acts: a robot stood until it could."""
        try:
            with self._loading:
                loaded = self._loader(request)
        except Exception as error:  # what acts goes on
            loaded = replace(acting, note=f'stays with eager: {type(error).__name__}: {error}')
        if loaded.digest in self._policies:  # not dropped meanwhile
            self._policies[loaded.digest] = loaded.policy
            self._reply(_loaded_frame(loaded, again=True))


def _loaded_frame(loaded: Loaded, again: bool = False) -> Frame:
    """Return the reply to a load.

    With `again` it answers no load: what was loaded is computed by another backend now, or stays
    with the one it has for a reason that its note says.
    """
    return Frame('loaded', {**loaded.description, 'again': again,
                            'measured': loaded.measured or loaded.backend})


def act_frame(request_id: int, digest: str, seed: int, observation: Observation,
              continuation: Continuation | None = None,
              image_size: tuple[int, int] | None = None) -> Frame:
    """Return the frame that asks for a chunk.

    With an `image_size` (width, height), images are as they came and the worker decodes them.
    """
    arrays: dict[str, np.ndarray] = {
        'joints': observation.joints,
              **{f'image/{name}': image for name, image in observation.images.items()}}
    if observation.state is not None:
        arrays['state'] = observation.state
    fields = {'id': request_id, 'digest': digest, 'seed': seed, 'stamp_ns': observation.stamp_ns,
              'instruction': observation.instruction, 'sources': observation.sources,
              'image_size': image_size}
    if continuation is not None:
        arrays['running'] = continuation.rows
        fields['continue'] = [continuation.delay, continuation.kind, continuation.max_weight]
    return Frame('act', fields, arrays)


def continuation_of(frame: Frame) -> Continuation | None:
    """Return the continuation that `act_frame` packed."""
    how = frame.fields.get('continue')
    return None if how is None else Continuation(frame.arrays['running'], *how)


def observation_of(frame: Frame) -> Observation:
    """Return the observation that `act_frame` packed, its images decoded."""
    fields = frame.fields
    images = {name.removeprefix('image/'): array for name, array in frame.arrays.items()
              if name.startswith('image/')}
    observation = Observation(fields['stamp_ns'], frame.arrays['joints'], images,
                              frame.arrays.get('state'), fields['instruction'], fields['sources'])
    size = fields['image_size']
    return observation if size is None else decoded(observation, (size[0], size[1]))


def load_frame(request: LoadRequest) -> Frame:
    """Return the frame that asks for a checkpoint to be loaded."""
    return Frame('load', {**vars(request), 'robot': request.robot.to_dict()})


def find_loader(path: str) -> Loader:
    """Return the function named 'module:function'."""
    module, _, name = path.partition(':')
    loader: Loader = getattr(import_module(module), name)
    return loader


def serve(connection: Connection, loader: Loader, arena: Arena | None = None,
          niceness: int = 0) -> None:
    """Answer frames until the other side closes; step back by `niceness` once a policy acts."""
    view = None if arena is None else arena.view
    sending = threading.Lock()  # the load thread replies too

    def reply(frame: Frame) -> None:
        with sending:
            connection.send_bytes(encode(frame))

    def acts() -> None:
        gc.freeze()  # a full collection of what was imported would stop acting for 0.1 s
        step_back_all(niceness)

    core = WorkerCore(loader, reply, acts)
    try:
        reply(Frame('ready'))
        while True:
            if core.patience is not None and not connection.poll(core.patience):
                core.clean()
            core.handle(decode(bytearray(connection.recv_bytes()), view))
    except (EOFError, OSError):
        return  # the node is gone


def main() -> None:
    """Serve on the file descriptor given on the command line."""
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    try:
        import torch
        torch.set_num_threads(1)  # the other cores belong to control and cameras
        torch.set_grad_enabled(False)
    except ImportError:
        pass
    serve(Connection(int(sys.argv[1])), find_loader(sys.argv[2]), Arena(int(sys.argv[3])),
          int(sys.argv[4]))


if __name__ == '__main__':
    main()
