# SPDX-License-Identifier: Apache-2.0
from types import SimpleNamespace

import numpy as np
import pytest

from lwd_core.images import (
    decode_jpeg,
    decode_raw,
    decode_raw_with,
    encode_jpeg,
    ImageError,
    raw_decoders,
    resize,
)

RGB = np.arange(4 * 6 * 3, dtype=np.uint8).reshape(4, 6, 3)


def message(encoding='rgb8', pixels=RGB, step=None, data=None):
    """Return a sensor_msgs/Image: the real one where ROS is, since cv_bridge wants it."""
    data = np.ascontiguousarray(pixels).tobytes() if data is None else data
    fields = dict(height=pixels.shape[0], width=pixels.shape[1], encoding=encoding,
                  step=step or pixels[0].nbytes, is_bigendian=0)
    try:
        from sensor_msgs.msg import Image
    except ImportError:
        return SimpleNamespace(data=np.frombuffer(data, np.uint8), **fields)
    made = Image(**fields)
    made.data = data
    return made


DECODERS = sorted(raw_decoders())


def test_there_is_a_decoder_for_raw_images():
    assert DECODERS


@pytest.mark.parametrize('name', DECODERS)
@pytest.mark.parametrize(('encoding', 'pixels'), [
    ('rgb8', RGB), ('bgr8', RGB[..., ::-1]),
    ('rgba8', np.dstack([RGB, np.full((4, 6), 255, np.uint8)])),
    ('bgra8', np.dstack([RGB[..., ::-1], np.full((4, 6), 255, np.uint8)])),
])
def test_every_colour_encoding_becomes_rgb(name, encoding, pixels):
    decoded = decode_raw_with(raw_decoders()[name], message(encoding, pixels))
    assert decoded.dtype == np.uint8
    np.testing.assert_array_equal(decoded, RGB)


@pytest.mark.parametrize('name', DECODERS)
def test_grey_becomes_rgb_with_equal_channels(name):
    grey = RGB[..., 0]
    decoded = decode_raw_with(raw_decoders()[name], message('mono8', grey))
    np.testing.assert_array_equal(decoded, np.repeat(grey[..., None], 3, 2))


@pytest.mark.parametrize('name', DECODERS)
@pytest.mark.parametrize(('bad', 'needle'), [
    (dict(data=RGB.tobytes()[:-1]), 'holds 71 bytes'), (dict(encoding='rgb9'), 'rgb9'),
])
def test_a_broken_raw_image_is_one_clear_error(name, bad, needle):
    with pytest.raises(ImageError, match=needle):
        decode_raw_with(raw_decoders()[name], message(**bad))


def test_the_best_decoder_is_taken():
    np.testing.assert_array_equal(decode_raw(message()), RGB)


def test_jpeg_keeps_colours_in_rgb_order():
    solid = np.zeros((16, 16, 3), np.uint8)
    solid[...] = 200, 100, 30
    np.testing.assert_allclose(decode_jpeg(encode_jpeg(solid, 95)).astype(int), solid, atol=6)


@pytest.mark.parametrize('data', [b'', b'not an image', b'\xff\xd8\xff\xe0'])
def test_bytes_that_are_no_image_are_refused(data):
    with pytest.raises(ImageError):
        decode_jpeg(data)


def test_resize_leaves_the_right_size_alone():
    assert resize(RGB, (6, 4)) is RGB
    assert resize(RGB, (3, 2)).shape == (2, 3, 3)
