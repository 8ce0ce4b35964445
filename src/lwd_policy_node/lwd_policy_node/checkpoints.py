# SPDX-License-Identifier: Apache-2.0
"""Which checkpoint acts, which waits, which was refused: the state behind hot reload.

announced -> loading -> pending -> active -> previous -> dropped
                |           \\-> dropped (a newer one was loaded meanwhile)
                |\\-> refused: named in the status, its digest is not tried again
                \\-> put off: the store did not answer; tried again until it does

The worker holds the networks; this class decides. Pure; the caller sends what `next_load` and
`take_drops` return.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Candidate:
    """A checkpoint somebody wants; with an empty `uri` the store is searched for the digest."""

    digest: str
    step: int
    uri: str = ''
    forced: bool = False  # asked for by a person: also an older one, also one refused before


@dataclass(frozen=True)
class Installed:
    """A checkpoint the worker holds, verified and warm."""

    digest: str
    step: int
    horizon: int
    mode: str
    cameras: tuple[str, ...]
    image_size: tuple[int, int]
    backend: str
    warm_s: float
    note: str = ''  # why this backend
    # What it is to be computed with, if `backend` stands in for it; auto: measured at every load.
    measured: str = ''

    @property
    def stands_in(self) -> bool:
        """Tell whether another backend than the one chosen computes; `note` says why."""
        return self.measured not in ('', self.backend)

    @property
    def observes(self) -> tuple[object, ...]:
        """Return what it must be shown."""
        return self.mode, self.cameras, self.image_size

    @classmethod
    def from_fields(cls, fields: dict[str, Any]) -> Installed:
        """Read a `loaded` reply."""
        return cls(fields['digest'], fields['step'], fields['horizon'], fields['mode'],
                   tuple(fields['cameras']), tuple(fields['image_size']), fields['backend'],
                   fields['warm_s'], fields.get('note', ''),
                   fields.get('measured') or fields['backend'])


def _again(installed: Installed | None) -> Candidate | None:
    """Return the candidate that loads what was installed already."""
    return None if installed is None else Candidate(installed.digest, installed.step, forced=True)


class Checkpoints:
    """The table of checkpoints of one policy node."""

    def __init__(self) -> None:
        self.active: Installed | None = None
        self.previous: Installed | None = None
        self.pending: Installed | None = None
        self.loading: Candidate | None = None
        self.refused: dict[str, str] = {}
        self.newest_refused = ''
        self.put_off: Candidate | None = None
        self._put_off_reason = ''
        self.loads = 0
        self._queued: Candidate | None = None
        self._after: Candidate | None = None  # comes after the queued one
        self._drops: list[str] = []

    def want(self, candidate: Candidate) -> str:
        """Take a candidate; return '' or why it is not tried."""
        digest = candidate.digest
        for what, known in (('active', self.active), ('pending', self.pending),
                            ('being loaded', self.loading), ('queued', self._queued)):
            if known is not None and known.digest == digest:
                return f'{digest[:12]} is {what} already'
        if not candidate.forced:
            if digest in self.refused:
                return f'{digest[:12]} was refused: {self.refused[digest]}'
            newest = max((known.step for known in (self.active, self.pending, self.loading,
                                                   self._queued) if known), default=-1)
            if candidate.step < newest:
                return f'{digest[:12]} of step {candidate.step} is older than step {newest}'
        self.refused.pop(digest, None)
        self._queued, self.put_off = candidate, None
        return ''

    def next_load(self) -> Candidate | None:
        """Return what is to be loaded now, one at a time."""
        if self.loading is not None or self._queued is None:
            return None
        self.loading, self._queued, self._after = self._queued, self._after, None
        return self.loading

    def loaded(self, fields: dict[str, Any]) -> None:
        """Take a worker's `loaded` reply: the checkpoint waits for the end of the episode."""
        installed = Installed.from_fields(fields)
        if installed.digest == self.newest_refused:
            self.newest_refused = ''
        if fields.get('again'):
            self._rebuilt(installed)
            return
        if self.active is not None and installed.digest == self.active.digest:
            self.active = installed  # again, after the worker was restarted
            if self.loading is not None and installed.digest.startswith(self.loading.digest):
                self.loading = None
            return
        self.loading = None
        if self.pending is not None and self.pending.digest != installed.digest:
            self._drop(self.pending)
        self.pending = installed

    def _rebuilt(self, installed: Installed) -> None:
        """Take what the worker holds by another backend now: it stays in the place it has."""
        known = False
        for place in ('active', 'previous', 'pending'):
            held = getattr(self, place)
            if held is not None and held.digest == installed.digest:
                setattr(self, place, installed)
                known = True
        loading = self.loading is not None and installed.digest.startswith(self.loading.digest)
        if not known and not loading:
            self._drops.append(installed.digest)  # dropped while it was built

    def refuse(self, digest: str, reason: str) -> None:
        """Take a worker's `refused` reply."""
        if self.loading is not None and self.loading.digest == digest:
            self.loading = None
        self.refused[digest] = reason
        self.newest_refused = digest

    def postpone(self, digest: str, reason: str) -> None:
        """Take a worker's reply that the store did not answer: says nothing of the checkpoint."""
        candidate = self.loading
        if candidate is None or candidate.digest != digest:
            return
        self.loading = None
        if self.active is None or digest != self.active.digest:  # that one has its own retries
            self.put_off = candidate
        self.newest_refused, self._put_off_reason = digest, f'{reason}; tried again'

    def retry(self) -> None:
        """Queue what was put off, unless something newer is on its way."""
        if self.put_off is not None and self.loading is None and self._queued is None:
            self._queued, self.put_off = self.put_off, None

    @property
    def newest_reason(self) -> str:
        """Return why the newest refused checkpoint was refused or put off; '' if none was."""
        if not self.newest_refused:
            return ''
        return self.refused.get(self.newest_refused, self._put_off_reason)

    def swap(self) -> bool:
        """Let the pending checkpoint act; call only while no episode runs. False if none waits."""
        if self.pending is None:
            return False
        if self.previous is not None and self.previous.digest != self.pending.digest:
            self._drop(self.previous)
        self.active, self.previous, self.pending = self.pending, self.active, None
        self.loads += 1
        return True

    def rollback(self) -> str:
        """Make the previous checkpoint pending; return '' or why not."""
        if self.previous is None:
            return 'there is no previous checkpoint to roll back to'
        if self.active is not None:
            self.refused[self.active.digest] = 'rolled back by an operator'
        if self.pending is not None and self.pending.digest != self.previous.digest:
            self._drop(self.pending)
        self.pending = self.previous
        return ''

    def restarted(self) -> None:
        """The worker was started again and holds nothing: load the active one first."""
        active = self.active.digest if self.active is not None else ''
        self._after = next((known for known in (self._queued, self.loading, _again(self.pending))
                            if known is not None and known.digest != active), None)
        self.previous = self.pending = self.loading = None
        self._drops.clear()
        self._queued = None
        self.reload_active()
        if self._queued is None:
            self._queued, self._after = self._after, None

    def reload_active(self) -> None:
        """Load the active checkpoint before anything else."""
        if self.active is not None:
            self._after = self._after or self._queued
            self._queued = _again(self.active)

    def take_drops(self) -> list[str]:
        """Return the digests the worker may forget."""
        drops, self._drops = self._drops, []
        return drops

    def _drop(self, installed: Installed) -> None:
        kept = [known for known in (self.active, self.previous)
                if known is not None and known is not installed]
        if installed.digest not in [known.digest for known in kept]:
            self._drops.append(installed.digest)
