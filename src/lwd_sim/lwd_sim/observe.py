# SPDX-License-Identifier: Apache-2.0
"""What a policy sees of a World, as the same Observation that the robot's topics give."""
import numpy as np

from lwd_core.images import decode_jpeg, encode_jpeg
from lwd_core.observation import Observation
from lwd_sim.features import state_vector
from lwd_sim.names import CAMERAS, CONTROL_RATE
from lwd_sim.rendering import CameraRenderer
from lwd_sim.world import World

PERIOD_NS = round(1e9 / CONTROL_RATE)


def observe(world: World, instruction: str, renderer: CameraRenderer | None = None) -> Observation:
    """Return the observation of now: with `renderer` pixels, without it the privileged state."""
    stamp = world.steps * PERIOD_NS
    sources = {'joint_states': stamp}
    images, state = {}, None
    if renderer is None:
        state = state_vector(world)
        sources['state_observation'] = stamp
    else:
        # Through JPEG as on the wire: features of raw images are not what policies learn from.
        images = {name: decode_jpeg(encode_jpeg(image))
                  for name, image in renderer.render(world).items()}
        sources.update({f'camera/{name}': stamp for name in CAMERAS})
    return Observation(stamp, world.joints().astype(np.float32), images, state, instruction,
                       sources)
