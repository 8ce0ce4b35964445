# SPDX-License-Identifier: Apache-2.0
"""The eight tasks of the suite, after the paper's: four short ones with a binary outcome and four
long ones of 5 or 6 scored sub-steps. Instructions and time limits for people stand in
config/tasks/suite.yaml.

All distances in metres. An arm has its own half of the table: what it is to fetch starts there.
"""
from typing import Any

from lwd_sim.goals import Goal, Slot, Start, STEEP, Task
from lwd_sim.names import CONTROL_RATE
from lwd_sim.props import handle_at, ITEMS

LEFT, RIGHT, BOTH = ('left',), ('right',), ('left', 'right')
SHELF_DEPTHS = {'shelf0': (.46, .06), 'shelf1': (.565, .16), 'counter': (.54, .04),
                'cabinet': (.47, .06)}      # y and height of the surfaces
FRONT = .37                 # before the lower shelf and the cabinet
DOOR_OPEN = 1.05            # rad
RIM = ITEMS['tub'].size[2]  # of the tub, above its centre


def _on(surface: str, x: float, tolerance: tuple[float, float] = (.05, .035)) -> Slot:
    y, z = SHELF_DEPTHS[surface]
    return Slot((x, y, z), tolerance, surface, front=FRONT)


def _in(frame: str, x: float, y: float, tolerance: tuple[float, float],
        clearance: float = .15) -> Slot:
    return Slot((x, y, ITEMS[frame].floor), tolerance, frame=frame, clearance=clearance)


def _spot(x: float, y: float = .30, turn: float = .25) -> Start:
    return Start((x - .012, x + .012), (y - .03, y + .03), (-turn, turn))


def _seconds(time: float) -> int:
    return round(time * CONTROL_RATE)


def _task(name: str, *args: Any, **more: Any) -> Task:
    # With four to seven items most lie still most of the time.
    return Task(name, *args, sleep=True, **more)


RESTOCK_ITEM = _task(
    'restock_item', (Goal('tea', _on('shelf0', -.18), 'single', LEFT),),
    (('tea', _spot(-.33)), ('jam', _spot(-.21)), ('coffee', _spot(-.09)), ('beans', _spot(.12))),
    _seconds(12), 70, shuffled=(('tea', 'jam', 'coffee'),))

CORRECT_ITEM = _task(
    'correct_item', (Goal('coffee', _on('shelf1', -.06), 'single', LEFT),),
    (('coffee', Start((-.215, -.185), (.45, .47), (-.2, .2), .06)),
     ('soup', Start((-.325, -.315), (.455, .465), z=.06)),
     ('jam', Start((-.085, -.075), (.455, .465), z=.06)),
     ('beans', Start((.06, .08), (.56, .57), z=.16))),
    _seconds(12), 70, shuffled=(('soup', 'jam'),))

DOOR_PLACE = _task(
    'door_place', (
        Goal('door', Slot((*handle_at(DOOR_OPEN + .2)[:2], .135), (0., 0.)), 'door', RIGHT,
             serves=1, opened=DOOR_OPEN),
        Goal('milk', Slot((.06, .47, .06), (.07, .05), 'cabinet', front=.31), 'single', LEFT)),
    (('door', Start((0, 0), (0, 0), (0, .12))), ('milk', Start((-.26, -.12), (.26, .33),
                                                               (-.25, .25)))),
    _seconds(20), 150, ('cabinet',))

HANDOVER_PLACE = _task(
    'handover_place', (Goal('pasta', _on('shelf0', .2, (.10, .045)), 'handover', BOTH),),
    (('pasta', Start((-.26, -.14), (.28, .36), (-.15, .15))), ('soup', _spot(.3, .3)),
     ('jam', Start((-.22, -.18), (.455, .465), z=.06))),
    _seconds(20), 100)

RESTOCK_SHELF = _task(
    'restock_shelf', (
        Goal('cereal', _on('shelf1', -.10), 'single', LEFT, stage='cereal'),
        Goal('coffee', _on('shelf1', .10), 'single', RIGHT, stage='coffee'),
        Goal('soup', _on('shelf0', -.24), 'single', LEFT, stage='soup'),
        Goal('jam', _on('shelf0', .24), 'single', RIGHT, stage='jam'),
        Goal('tea', _on('shelf0', 0.), 'single', LEFT, stage='tea'),
        Goal('beans', _on('shelf0', .12), 'single', RIGHT, stage='beans')),
    (('cereal', _spot(-.33, turn=.15)), ('soup', _spot(-.21)), ('tea', _spot(-.09)),
     ('coffee', _spot(.09)), ('jam', _spot(.21)), ('beans', _spot(.33))),
    _seconds(60), 430, shuffled=(('cereal', 'soup', 'tea'), ('coffee', 'jam', 'beans')))

CRATE_SLOT = (.035, .03)
PACK_CRATE = _task(
    'pack_crate', (
        Goal('tea', _in('basket', -.045, .034, CRATE_SLOT), 'single', LEFT, STEEP, 'tea'),
        Goal('coffee', _in('basket', .045, .034, CRATE_SLOT), 'single', RIGHT, STEEP, 'coffee'),
        Goal('beans', _in('basket', -.045, -.034, CRATE_SLOT), 'single', LEFT, STEEP, 'beans'),
        Goal('jam', _in('basket', .045, -.034, CRATE_SLOT), 'single', RIGHT, STEEP, 'jam'),
        Goal('basket', Slot((0., .54, .04), (.08, .05), 'counter'), 'both', BOTH,
             stage='lift the crate')),
    (('basket', Start((-.02, .02), (.28, .31), (-.06, .06))),
     ('tea', _spot(-.25, .25)), ('beans', _spot(-.32, .36)),
     ('coffee', _spot(.25, .25)), ('jam', _spot(.32, .36))),
    _seconds(60), 380, ('counter',), (('tea', 'beans'), ('coffee', 'jam')), travel=.18)

TUB_SLOT = (.03, .03)
FILL_BOX = _task(
    'fill_box', (
        Goal('lid', Slot((.30, .45, 0.), (.06, .05), 'table', clearance=.09), 'single', RIGHT,
             stage='open the box', serves=3),
        Goal('lemon', _in('tub', -.058, 0., TUB_SLOT), 'single', LEFT, STEEP, 'lemon'),
        Goal('plum', _in('tub', .058, 0., TUB_SLOT), 'single', RIGHT, STEEP, 'plum'),
        Goal('lime', _in('tub', 0., 0., TUB_SLOT), 'single', LEFT, STEEP, 'lime'),
        Goal('lid', Slot((0., 0., RIM), (.02, .02), frame='tub', clearance=.05), 'single', RIGHT,
             stage='close the box')),
    (('tub', Start((-.02, .02), (.29, .32), (-.06, .06))),
     ('lid', Start((-.004, .004), (-.004, .004), (-.03, .03), 2 * RIM + .004, 'tub')),
     ('lemon', _spot(-.25, .25)), ('lime', _spot(-.32, .36)), ('plum', _spot(.27, .25))),
    _seconds(60), 380, (), (('lemon', 'lime'),), travel=.14)

TRAY_SLOT = (.035, .035)
SERVE = _task(
    'serve', (
        Goal('bun', _in('tray', 0., .0, (.03, .03), .11), 'single', LEFT, STEEP, 'bun'),
        Goal('cup', _in('tray', -.085, .0, TRAY_SLOT, .11), 'single', LEFT, STEEP, 'cup'),
        Goal('jar', _in('tray', .085, .0, TRAY_SLOT, .11), 'single', RIGHT, STEEP, 'jar'),
        Goal('dome', _in('tray', 0., .0, (.03, .03), .11), 'single', RIGHT, stage='cover'),
        Goal('tray', Slot((0., .54, .04), (.08, .05), 'counter'), 'both', BOTH,
             stage='deliver')),
    (('tray', Start((-.02, .02), (.28, .31), (-.06, .06))),
     ('bun', _spot(-.27, .26)), ('cup', _spot(-.33, .36)),
     ('jar', _spot(.27, .26)), ('dome', _spot(.33, .36))),
    _seconds(60), 400, ('counter',), (('bun', 'cup'),), travel=.15)

SHORT = ('restock_item', 'correct_item', 'door_place', 'handover_place')
LONG = ('restock_shelf', 'pack_crate', 'fill_box', 'serve')
SUITE = {task.name: task for task in (
    RESTOCK_ITEM, CORRECT_ITEM, DOOR_PLACE, HANDOVER_PLACE,
    RESTOCK_SHELF, PACK_CRATE, FILL_BOX, SERVE)}
