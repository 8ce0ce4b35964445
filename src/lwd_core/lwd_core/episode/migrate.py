# SPDX-License-Identifier: Apache-2.0
"""Rules by which recordings of older software are read.

A bag carries its own message definitions, so an old message is decoded as it was written. What the
present software expects beyond that is given here, field by field; a message that lacks a field
without a rule is refused rather than guessed at. Rules are only ever added.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any

from lwd_core.episode.errors import EpisodeError

Rule = Callable[[Any], Any]  # old message -> value of the field
Migration = Callable[[Any], Any]  # old message -> message as it is defined now


def constant(value: Any) -> Rule:
    """Return the rule that gives every old message the same value."""
    return lambda message: value


# type -> field -> what it is in messages that were recorded before the field existed.
FIELDS: dict[str, dict[str, Rule]] = {
    'lwd_msgs/msg/ActionChunk': {
        'epoch': constant(0), 'shadow': constant(False), 'delay_steps': constant(0),
        'latency': constant(float('nan')), 'inference_time': constant(float('nan')),
    },
    'lwd_msgs/msg/ExecutedAction': {
        'epoch': constant(0), 'tick': constant(0), 'clamped': constant(0),
        'chunk_id': constant(0), 'chunk_index': constant(0),
        # Before the guard's account there was one vector: what was asked for was sent.
        'requested': lambda message: message.sent,
    },
    'lwd_msgs/msg/EpisodeState': {
        'start_mode': constant(1), 'detail': constant(''), 'substep_scores': constant(()),
        'time_limit': constant(0.0), 'seed': constant(-1), 'labelled_by': constant(''),
    },
    'lwd_msgs/msg/Intervention': {
        'operator_name': constant(''), 'source': constant(''), 'reason': constant(''),
        'end_reason': constant(''), 'checkpoint': constant(''), 'overruled_chunk': constant(0),
    },
    'lwd_msgs/msg/PolicyStatus': {'checkpoint_step': constant(0), 'backend': constant('')},
}
# What readers of bags use; a message must have these, by itself or by a rule.
EXPECTED: dict[str, tuple[str, ...]] = {
    'lwd_msgs/msg/ActionChunk': (
        'header', 'chunk_id', 'epoch', 'checkpoint', 'seed', 'observation_sources',
        'observation_stamps', 'horizon', 'action_dim', 'actions', 'shadow', 'delay_steps',
        'latency', 'inference_time'),
    'lwd_msgs/msg/ExecutedAction': (
        'header', 'source', 'epoch', 'tick', 'joint_names', 'requested', 'sent', 'clamped',
        'chunk_id', 'chunk_index'),
    'lwd_msgs/msg/EpisodeState': (
        'header', 'episode_id', 'task', 'instruction', 'phase', 'start_mode', 'outcome',
        'stop_reason', 'detail', 'substep_scores', 'started', 'ended', 'time_limit', 'seed',
        'labelled_by'),
    'lwd_msgs/msg/Intervention': (
        'header', 'event', 'id', 'episode_id', 'operator_name', 'source', 'reason', 'end_reason',
        'start_tick', 'end_tick', 'checkpoint', 'overruled_chunk'),
    'lwd_msgs/msg/PolicyStatus': ('checkpoint', 'checkpoint_step', 'backend'),
}


def migration(type_name: str, fields: Mapping[str, Any] | tuple[str, ...],
              where: str) -> Migration | None:
    """Return what makes a message with these `fields` one of today; None: it is one already.

    Raises EpisodeError('version') naming `where`, the type and the field without a rule.
    """
    missing = [name for name in EXPECTED.get(type_name, ()) if name not in fields]
    if not missing:
        return None
    rules = FIELDS.get(type_name, {})
    for name in missing:
        if name not in rules:
            raise EpisodeError('version', f'{where}: {type_name} was recorded without the field '
                                          f'{name!r}, and there is no rule to fill it')

    def apply(message: Any) -> Any:
        values = {name: getattr(message, name) for name in fields}
        values.update({name: rules[name](message) for name in missing})
        return SimpleNamespace(**values)

    return apply


def _meta_1_to_2(value: dict[str, Any]) -> dict[str, Any]:
    """Labels became a list with their history, and imports name their origin."""
    return {**value, 'labels': [], 'origin': {}}


# schema_version of an episode.json -> what makes it one of the next version
META: dict[int, Callable[[dict[str, Any]], dict[str, Any]]] = {1: _meta_1_to_2}


def migrate_meta(value: dict[str, Any], current: int) -> dict[str, Any]:
    """Return episode.json's content in the `current` version; newer ones come back as they are."""
    version = value.get('schema_version')
    while isinstance(version, int) and version < current and version in META:
        value = {**META[version](value), 'schema_version': version + 1}
        version += 1
    return value
