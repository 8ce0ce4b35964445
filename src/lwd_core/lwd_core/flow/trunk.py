# SPDX-License-Identifier: Apache-2.0
"""A small frozen vision trunk: camera images and joints to estimates of named quantities.

The trunk is to the flow policy what a pretrained vision-language model is to a large VLA: trained
once, on much more than one task's demonstrations, then frozen. Its output is computed once per
frame, at ingest, and cached; learning afterwards touches only the policy's head (the paper's
online phase). Its weights travel inside every checkpoint, so a robot needs no file beside it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn, Tensor

# Wrist cameras are mirrored copies of each other: one encoder serves both, fed mirror images.
MIRRORED = 'right_wrist'


class TrunkError(ValueError):
    """A trunk file or an input to it that was refused."""


@dataclass(frozen=True)
class TrunkConfig:
    """The shape of a trunk. `outputs` names what it estimates, in SI units."""

    outputs: tuple[str, ...]
    cameras: tuple[str, ...] = ('head', 'left_wrist', 'right_wrist')
    encoders: tuple[int, ...] = (0, 1, 1)  # which encoder serves each camera
    image_size: int = 96  # px, square
    joint_dim: int = 14
    channels: int = 32
    hidden: int = 256

    def __post_init__(self) -> None:
        if len(self.encoders) != len(self.cameras):
            raise TrunkError(
                f'trunk: {len(self.encoders)} encoders for {len(self.cameras)} cameras')
        if not self.outputs:
            raise TrunkError('trunk: no outputs')
        if self.image_size % 4:
            raise TrunkError(f'trunk: image_size = {self.image_size} is not a multiple of 4')


class KeypointEncoder(nn.Module):
    """Strided convolutions and a spatial softmax: where each channel fires, and how strongly."""

    def __init__(self, channels: int, image_size: int):
        """Build for square images."""
        super().__init__()
        side = image_size // 4
        self.layers = nn.Sequential(
            nn.Conv2d(3, channels // 2, 8, 4, 2), nn.ReLU(),
            nn.Conv2d(channels // 2, channels, 3, 1, 1))
        grid = torch.linspace(-1, 1, side)
        self.register_buffer('x', grid.repeat(side, 1).flatten(), False)
        self.register_buffer('y', grid.repeat(side, 1).T.flatten(), False)

    def forward(self, images: Tensor) -> Tensor:
        """Map images [B, 3, S, S] in [-1, 1] to [B, 3 * channels]."""
        maps = self.layers(images).flatten(2)
        weight = maps.softmax(-1)
        strength = torch.log1p(maps.amax(-1).relu())
        return torch.cat([(weight * self.x).sum(-1), (weight * self.y).sum(-1), strength], 1)


class KeypointTrunk(nn.Module):
    """Cameras and joints to estimates [F]; `features` is what robots and ingest call."""

    joints_mean: Tensor
    joints_std: Tensor
    output_mean: Tensor
    output_std: Tensor

    def __init__(self, config: TrunkConfig):
        """Build with random weights; the output scale is set by `set_scale`."""
        super().__init__()
        self.config = config
        self.encoders = nn.ModuleList(
            KeypointEncoder(config.channels, config.image_size)
            for _ in range(1 + max(config.encoders)))
        size = 3 * config.channels * len(config.cameras) + config.joint_dim
        self.head = nn.Sequential(
            nn.Linear(size, config.hidden), nn.SiLU(), nn.Linear(config.hidden, config.hidden),
            nn.SiLU(), nn.Linear(config.hidden, len(config.outputs)))
        for name, count in (('joints', config.joint_dim), ('output', len(config.outputs))):
            self.register_buffer(f'{name}_mean', torch.zeros(count))
            self.register_buffer(f'{name}_std', torch.ones(count))

    @property
    def size(self) -> int:
        """Number of features F."""
        return len(self.config.outputs)

    def set_scale(self, joints: Tensor, outputs: Tensor, floor: float = 1e-2) -> None:
        """Take means and spreads of joints [N, J] and outputs [N, F] from training data."""
        for name, data in (('joints', joints), ('output', outputs)):
            getattr(self, f'{name}_mean').copy_(data.mean(0))
            getattr(self, f'{name}_std').copy_(data.std(0).clamp(min=floor))

    def forward(self, images: Tensor, joints: Tensor) -> Tensor:
        """Map uint8 images [B, cameras, S, S, 3] and joints [B, J] to normalised outputs [B, F]."""
        scaled = images.permute(0, 1, 4, 2, 3).float() / 127.5 - 1.0
        parts = []
        for index, camera in enumerate(self.config.cameras):
            view = scaled[:, index].flip(-1) if camera == MIRRORED else scaled[:, index]
            parts.append(self.encoders[self.config.encoders[index]](view))
        parts.append((joints - self.joints_mean) / self.joints_std)
        out: Tensor = self.head(torch.cat(parts, 1))
        return out

    @torch.inference_mode()
    def features(self, images: Mapping[str, npt.NDArray[np.uint8]],
                 joints: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Return the estimates float32 [F] for RGB images [S, S, 3] by camera and joints [J]."""
        return self.features_batch([images], joints[None])[0]

    @torch.inference_mode()
    def features_batch(self, images: list[Mapping[str, npt.NDArray[np.uint8]]],
                       joints: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Return the estimates float32 [B, F]; raises TrunkError naming a missing camera."""
        stacked = np.stack([self.stack(frame) for frame in images])
        out = self(torch.from_numpy(stacked), torch.from_numpy(np.asarray(joints, np.float32)))
        return np.asarray((out * self.output_std + self.output_mean).numpy(), np.float32)

    def stack(self, images: Mapping[str, npt.NDArray[np.uint8]]) -> npt.NDArray[np.uint8]:
        """Return images [cameras, S, S, 3] in the trunk's order; raises TrunkError."""
        side = self.config.image_size
        for camera in self.config.cameras:
            if camera not in images:
                raise TrunkError(f'trunk: no image of camera {camera!r}, got {sorted(images)}')
            if images[camera].shape != (side, side, 3):
                raise TrunkError(f'trunk: camera {camera!r} gives {images[camera].shape}, '
                                 f'must be ({side}, {side}, 3)')
        return np.stack([images[camera] for camera in self.config.cameras])

    def to_dict(self) -> dict[str, Any]:
        """Return the configuration as JSON data."""
        return asdict(self.config)


def build_trunk(config: Mapping[str, Any]) -> KeypointTrunk:
    """Return an untrained trunk of this configuration, frozen; weights come from a checkpoint."""
    tuples: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value
                              for key, value in config.items()}
    return KeypointTrunk(TrunkConfig(**tuples)).eval().requires_grad_(False)


def save_trunk(trunk: KeypointTrunk, path: Path) -> None:
    """Write the weights in half precision, the configuration in the file's metadata."""
    from safetensors.torch import save_file
    tensors = {name: (value if name.endswith(('_mean', '_std')) else value.half()).contiguous()
               for name, value in trunk.state_dict().items()}
    save_file(tensors, str(path), {'trunk': json.dumps(trunk.to_dict())})


def load_trunk(path: Path) -> KeypointTrunk:
    """Read a trunk written by `save_trunk`; raises TrunkError naming the file."""
    from safetensors import safe_open, SafetensorError
    try:
        with safe_open(str(path), 'pt') as file:
            config = json.loads((file.metadata() or {})['trunk'])
            tensors = {name: file.get_tensor(name).float() for name in file.keys()}
        trunk = build_trunk(config)
        trunk.load_state_dict(tensors)
    except (OSError, SafetensorError, KeyError, TypeError, ValueError, RuntimeError) as error:
        raise TrunkError(f'{path}: not a vision trunk: {error}') from error
    return trunk
