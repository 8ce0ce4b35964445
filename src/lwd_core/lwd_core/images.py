# SPDX-License-Identifier: Apache-2.0
"""Camera messages to RGB arrays: JPEG by OpenCV, raw by cv_bridge or by rosbags-image."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]
_RGB = getattr(cv2, 'IMREAD_COLOR_RGB', 0)  # OpenCV 4.11: the same bits, without a second pass


class ImageError(ValueError):
    """Image data that cannot be decoded."""


def decode_jpeg(data: bytes | memoryview | NDArray[np.uint8]) -> Image:
    """Decode JPEG or PNG bytes to RGB uint8 [H, W, 3]."""
    if not len(data):
        raise ImageError('compressed image holds 0 bytes')
    decoded = cv2.imdecode(np.frombuffer(data, np.uint8), _RGB or cv2.IMREAD_COLOR)
    if decoded is None:
        raise ImageError(f'compressed image of {len(data)} bytes, starting '
                         f'{bytes(data[:4]).hex()}, is neither JPEG nor PNG')
    if not _RGB:
        decoded = cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB)
    return np.asarray(decoded, np.uint8)


def encode_jpeg(image: Image, quality: int = 90) -> bytes:
    """Encode RGB uint8 [H, W, 3] as JPEG."""
    done, data = cv2.imencode('.jpg', cv2.cvtColor(image, cv2.COLOR_RGB2BGR),
                              [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not done:
        raise ImageError(f'image of shape {image.shape} cannot be encoded as JPEG')
    return bytes(data)


def resize(image: Image, size: tuple[int, int]) -> Image:
    """Return `image` [H, W, 3] scaled to `size` (width, height) px."""
    if (image.shape[1], image.shape[0]) == size:
        return image
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)


def raw_decoders() -> dict[str, Callable[[Any], Image]]:
    """Return the decoders of sensor_msgs/Image that work here, best first."""
    found: dict[str, Callable[[Any], Image]] = {}
    for name, make in (('cv_bridge', _cv_bridge), ('rosbags-image', _rosbags_image)):
        try:
            found[name] = make()
        except ImportError:
            continue
    return found


def decode_raw(message: Any) -> Image:
    """Decode a sensor_msgs/Image to RGB uint8 [H, W, 3]."""
    global _decoder
    if _decoder is None:
        decoders = raw_decoders()
        if not decoders:
            raise ImageError('raw images need cv_bridge (source a ROS installation) or '
                             'rosbags-image (pip install rosbags-image)')
        _decoder = next(iter(decoders.values()))
    return decode_raw_with(_decoder, message)


def decode_raw_with(decoder: Callable[[Any], Image], message: Any) -> Image:
    """Decode `message` by one of `raw_decoders`, with one error for all that can go wrong."""
    if len(message.data) < message.step * message.height or 0 in (message.width, message.height):
        raise ImageError(f'raw image {message.width} x {message.height}, step {message.step}, '
                         f'holds {len(message.data)} bytes, must hold step * height')
    try:
        image = np.asarray(decoder(message))
    except Exception as error:  # each library raises its own kinds
        raise ImageError(f'raw image of encoding {message.encoding!r} cannot be decoded: '
                         f'{error}') from error
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise ImageError(f'raw image of encoding {message.encoding!r} decodes to {image.dtype} '
                         f'{image.shape}, must be uint8 [H, W, 3]')
    return image


_decoder: Callable[[Any], Image] | None = None


def _cv_bridge() -> Callable[[Any], Image]:
    from cv_bridge import CvBridge
    bridge = CvBridge()
    return lambda message: np.asarray(bridge.imgmsg_to_cv2(message, 'rgb8'), np.uint8)


def _rosbags_image() -> Callable[[Any], Image]:
    from rosbags.image import message_to_cvimage

    def decode(message: Any) -> Image:
        return np.asarray(message_to_cvimage(_with_array(message), 'rgb8'), np.uint8)

    return decode


class _with_array:
    """A sensor_msgs/Image whose data is an array without a copy, as rosbags-image expects."""

    __msgtype__ = 'sensor_msgs/msg/Image'

    def __init__(self, message: Any) -> None:
        self.height, self.width = message.height, message.width
        self.encoding, self.step = message.encoding, message.step
        self.is_bigendian = message.is_bigendian
        self.data = np.frombuffer(message.data, np.uint8)
