"""PNG files: what was written comes back, whoever reads or writes it."""

import cv2
import numpy as np
import pytest

from reenact.data.png import decode_png, encode_png


def picture(*shape):
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def by_opencv(image):
    return image if image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_RGB2BGR)


@pytest.mark.parametrize("shape", [(1, 1), (1, 1, 3), (2, 3), (5, 7, 3), (64, 64), (100, 33, 3)])
def test_there_and_back_and_through_opencv(shape):
    image = picture(*shape)
    data = encode_png(image)
    np.testing.assert_array_equal(decode_png(data), image)
    np.testing.assert_array_equal(by_opencv(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)), image)
    np.testing.assert_array_equal(decode_png(cv2.imencode(".png", by_opencv(image))[1].tobytes()), image)


def test_parts_of_pictures_may_be_written():
    image = picture(40, 40, 3)
    np.testing.assert_array_equal(decode_png(encode_png(image[3:20, 5:31])), image[3:20, 5:31])


@pytest.mark.parametrize(
    "damage",
    [lambda data: data[:-5], lambda data: data[: len(data) // 2], lambda data: b"", lambda data: b"no picture" * 20],
)
def test_damage_is_no_picture(damage, capfd):
    assert decode_png(damage(encode_png(picture(40, 40, 3)))) is None


@pytest.mark.parametrize("place", [100, 2000, -14])
def test_a_flipped_bit_is_noticed(place, capfd):
    data = bytearray(encode_png(picture(40, 40, 3)))
    data[place] ^= 4
    assert decode_png(bytes(data)) is None
