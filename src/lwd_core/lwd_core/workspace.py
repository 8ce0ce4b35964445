# SPDX-License-Identifier: Apache-2.0
"""Where a robot's tools may be and how near its arms may come: the robot file's `workspace`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from lwd_core.spec import check_number, Fields, SpecError

Point = tuple[float, float, float]


@dataclass(frozen=True)
class BoxSpec:
    """A box [m], along the axes of the MJCF's world, that a site or body must stay in."""

    frame: str
    lower: Point
    upper: Point


@dataclass(frozen=True)
class WorkspaceSpec:
    """Boxes for tools, and the least distance [m] between the geoms of two subtrees of bodies."""

    boxes: tuple[BoxSpec, ...] = ()
    min_distance: float | None = None
    bodies: tuple[str, ...] = ()  # the roots of the two subtrees, where min_distance is given

    @classmethod
    def from_dict(cls, data: Any, where: str) -> WorkspaceSpec | None:
        """Validate the key `workspace`; None where the robot file has none."""
        if data is None:
            return None
        fields = Fields(data, where)
        boxes = tuple(_box(item, f'{where}: boxes[{i}]')
                      for i, item in enumerate(fields.sequence('boxes', [])))
        distance = fields.take('min_distance', None)
        if distance is not None:
            distance = check_number(distance, f'{where}: min_distance', above=0.0, at_most=1.0)
        bodies = tuple(str(name) for name in fields.sequence('bodies', []))
        fields.done()
        if (distance is None) != (not bodies) or len(bodies) not in (0, 2):
            raise SpecError(f'{where}: bodies: is {list(bodies)}, must name the two bodies that '
                            'begin the arms if min_distance is given, else be left out')
        if not boxes and distance is None:
            raise SpecError(f'{where}: gives neither boxes nor min_distance')
        return cls(boxes, distance, bodies)


def _box(data: Any, where: str) -> BoxSpec:
    fields = Fields(data, where)
    frame, lower, upper = fields.text('frame'), _point(fields, 'lower'), _point(fields, 'upper')
    fields.done()
    if not all(low < high for low, high in zip(lower, upper)):
        raise SpecError(f'{where}: lower is {list(lower)}, must be below upper, which is '
                        f'{list(upper)}, in x, y and z')
    return BoxSpec(frame, lower, upper)


def _point(fields: Fields, key: str) -> Point:
    values = fields.sequence(key)
    if len(values) != 3:
        raise fields.error(key, f'is {values!r}, must be [x, y, z] in m')
    x, y, z = (check_number(value, f'{fields.where}: {key}') for value in values)
    return x, y, z
