# SPDX-License-Identifier: Apache-2.0
"""What a watching person does not wait for: an item about to fall. All read off one state."""
from lwd_sim.grasping import holds
from lwd_sim.names import ARMS
from lwd_sim.tasks import Goal
from lwd_sim.world import World

OPENING = 0.53       # share of the held width: a jaw asked to be wider than that loses its grip
LIFTED = 0.015       # m above the goal's surface or off the table: a fall from there matters
TIPPING = 0.35       # rad an item that nobody holds may lean
UPRIGHT = 0.3        # rad an item may lean when it is handed back


def danger(world: World, goal: Goal) -> str | None:
    """Return what is about to go wrong, or None."""
    if world.in_slot(goal):
        return None
    arm = _letting_go(world, goal)
    if arm is not None:
        return f'{arm} arm lets go in the air'
    if not any(world.pads_touching(arm, goal.item) == 2 for arm in ARMS) and not _lies(
            world, goal) and world.tilt(goal.item) > TIPPING:
        return 'item is tipping over'
    return None


def jammed(world: World, goal: Goal) -> bool:
    """Tell whether a held item is pressed against something that does not carry it."""
    return (not world.in_slot(goal) and world.touches_surface(goal.item)
            and not world.stands(goal.item)
            and any(holds(world, goal, arm) for arm in goal.arms))


def _lies(world: World, goal: Goal) -> bool:
    return world.supported(goal.item) and world.tilt(goal.item) > 1.3


def _letting_go(world: World, goal: Goal) -> str | None:
    """Return the arm that opens while the item hangs on it."""
    if world.stands(goal.item) or abs(world.gap(goal)) < LIFTED:
        return None
    for arm in goal.arms:
        others = [other for other in goal.arms if other != arm]
        hangs = goal.how == 'both' or not any(holds(world, goal, other) for other in others)
        if hangs and world.pads_touching(arm, goal.item) == 2 and \
                world.jaw_command(arm) > OPENING * world.jaw(arm):
            return arm
    return None
