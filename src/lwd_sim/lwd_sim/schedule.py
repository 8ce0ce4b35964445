# SPDX-License-Identifier: Apache-2.0
"""Which episode comes next: every task in turn, each start seed once per task."""


class Schedule:
    """Counts episodes; one that did not run is asked for again."""

    def __init__(self, tasks: tuple[str, ...], seed: int, episodes: int) -> None:
        self._tasks, self._seed, self._episodes = tasks, seed, episodes
        self.finished = 0

    @property
    def done(self) -> bool:
        """Tell whether all episodes are over; never with `episodes` 0."""
        return 0 < self._episodes <= self.finished

    def next(self) -> tuple[str, int]:
        """Return task and seed of the next episode."""
        turn, index = divmod(self.finished, len(self._tasks))
        return self._tasks[index], self._seed + turn

    def finish(self) -> None:
        """Count one episode that ran."""
        self.finished += 1
