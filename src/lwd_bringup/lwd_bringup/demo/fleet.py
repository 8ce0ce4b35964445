# SPDX-License-Identifier: Apache-2.0
"""Run a set of processes as one phase of the demonstration, feeding what they say to the view."""

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import replace
import json
import time

from lwd_bringup.demo.config import DemoConfig
from lwd_bringup.demo.errors import dead_process, DemoError
from lwd_bringup.demo.live import LiveView
from lwd_bringup.demo.state import DemoState
from lwd_bringup.graph import build_graph, Graph, NodeSpec
from lwd_bringup.runner import graph_processes, ProcessSpec, ros_environment, Runner

MARK = '@lwd '  # begins a line that carries an event as JSON; monitor_node and the workers write it
POLL_S = 0.1


class Stage:
    """One phase's processes, polled from the main thread; leaving it stops them all."""

    def __init__(self, config: DemoConfig, phase: str, specs: Iterable[ProcessSpec],
                 state: DemoState, view: LiveView) -> None:
        self._phase, self._state, self._view = phase, state, view
        self._events: deque[str] = deque()  # appended by reader threads, emptied by `step`
        self._runner = Runner(specs, config.run_dir / 'log' / phase, self._sink)
        self._began = time.monotonic()

    def run(self, seconds: float, done: Callable[[], bool] = lambda: False,
            budget: float = 0.0) -> float:
        """
        Poll until done(), until every process has ended, or for `seconds`; return what it took.

        `budget` is what the view shows as the phase's time. Raises DemoError when a process has
        died for good.
        """
        deadline = self._began + seconds
        self._view.begin(self._phase, budget or seconds)
        while self.step() and time.monotonic() < deadline and not done():
            time.sleep(POLL_S)
        return self.elapsed()

    def elapsed(self) -> float:
        """Return the s since the processes were started."""
        return time.monotonic() - self._began

    def step(self) -> bool:
        """Look after processes and events once; return whether anything still runs."""
        alive = self._runner.poll()
        self._drain()
        self._state.health = self._runner.health()
        self._view.update()
        if not alive:
            raise dead_process(self._runner.failed()[0], self._phase)
        return self._runner.running()

    def __enter__(self) -> 'Stage':
        self._state.phase = self._phase
        self._runner.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._view.note('stopping')
        self._runner.stop()
        self._drain()

    def _sink(self, name: str, line: str) -> None:
        if line.startswith(MARK):
            self._events.append(line[len(MARK):])

    def _drain(self) -> None:
        while self._events:
            try:
                self._state.apply(json.loads(self._events.popleft()))
            except ValueError as error:
                raise DemoError(f'an event is not JSON: {error}') from error


def fleet_processes(config: DemoConfig, phase: str, **values: object) -> list[ProcessSpec]:
    """Return the processes of the simulated fleet and of its monitor."""
    graph = build_graph('sim_fleet', robots=config.robots, store=str(config.store),
                        observation=config.observation, tasks=','.join(config.tasks),
                        seed_stride=config.seed_stride, work_dir=str(config.learner_dir),
                        learner_seed=config.seed, **values)
    graph = with_monitor(graph, config.robot_names)
    return graph_processes(graph, config.run_dir / phase, ros_environment(config.domain))


def with_monitor(graph: Graph, robots: tuple[str, ...]) -> Graph:
    """Return the graph with the node that reports it to the demonstration."""
    monitor = NodeSpec('lwd_bringup', 'monitor_node', 'monitor', 'lwd', {'robots': list(robots)})
    return replace(graph, nodes=(*graph.nodes, monitor))
