# SPDX-License-Identifier: Apache-2.0
"""What the policy node observes: as the checkpoint that acts wants it, and no topic more."""

from __future__ import annotations

from typing import Any

from lwd_core.observation import ObservationAssembler, ObservationSpec
from lwd_core.robot import RobotSpec
from lwd_policy_node.checkpoints import Installed
from lwd_policy_node.lifecycle_node import ManagedNode
from lwd_policy_node.loop import ControlLoop
from lwd_policy_node.outputs_node import PolicyOutputs
from lwd_policy_node.params import PolicyParams
from lwd_policy_node.sensors_node import Sensors


class Senses:
    """The loop's assembler and the subscriptions that fill it; `lock` guards both."""

    def __init__(self, node: ManagedNode, robot: RobotSpec, params: PolicyParams,
                 loop: ControlLoop, outputs: PolicyOutputs, lock: Any) -> None:
        self._node = node
        self._robot = robot
        self._params = params
        self._loop = loop
        self._outputs = outputs
        self._lock = lock
        self._sensors: Sensors | None = None
        self._spec: ObservationSpec | None = None

    def show(self, active: Installed) -> bool:
        """Observe what `active` wants to see; tell whether nothing was observed before."""
        spec = ObservationSpec.for_robot(
            self._robot, active.mode, active.cameras or None, active.image_size)
        first = self._spec is None
        if spec != self._spec:
            self.close()
            self._observe(spec)
        return first

    def close(self) -> None:
        """Unsubscribe."""
        if self._sensors is not None:
            self._sensors.close()
        self._sensors = self._spec = None

    def _observe(self, spec: ObservationSpec) -> None:
        assembler = ObservationAssembler(spec)
        with self._lock:
            self._loop.set_assembler(assembler)
            self._loop.awaited = self._awaited(spec)
            self._outputs.image_size = spec.image_size
        self._sensors = Sensors(self._node, assembler, self._loop.on_sample, self._lock,
                                self._params.sync, self._params.sync_slop)
        self._spec = spec

    def _awaited(self, spec: ObservationSpec) -> tuple[str, ...]:
        """Return the sources that sample at every tick."""
        slow = {f'camera/{camera.name}' for camera in self._robot.cameras
                if camera.rate < self._robot.control_rate}
        return tuple(source for source in spec.sources if source not in slow)
