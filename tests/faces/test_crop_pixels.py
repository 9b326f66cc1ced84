"""The pixels of crops: exact to fractions of a pixel, and the published code's to the pixel."""

import cv2
import numpy as np
import pytest
from videos import texture

from reenact.faces.crop_pixels import crop_published, crop_square
from reenact.faces.square import Square, box_square


@pytest.mark.parametrize("side", [40.0, 64.0, 173.3])
def test_square_is_exact_to_fractions_of_a_pixel(side):
    # A picture whose colours are its coordinates: the crop must show those that the transform gives.
    rows, columns = np.mgrid[:240, :240] + 0.5
    picture = np.stack([columns, rows, np.full_like(rows, 77)], axis=-1).astype(np.uint8)
    square, size = Square.from_corner(21.4, 33.7, side), 64
    result = crop_square(picture, square, size).astype(float)
    points = np.stack(np.meshgrid(np.arange(size) + 0.5, np.arange(size) + 0.5), axis=-1)
    expected = square.to_frame(points, size) - 0.5
    assert result.shape == (size, size, 3)
    np.testing.assert_allclose(result[..., :2], expected, atol=1.1)
    assert abs((result[..., :2] - expected).mean()) < 0.15


@pytest.mark.parametrize("side", [270.0, 362.0, 383.0])
def test_square_of_a_reduced_picture_is_the_mean_of_what_it_shows(side):
    picture = cv2.GaussianBlur(texture(512, 512), (0, 0), 1.5)
    half = cv2.resize(picture, (256, 256), interpolation=cv2.INTER_AREA)
    x, y, size = 40.7, 30.2, 128
    square = Square.from_corner(x, y, side)
    grid = np.float32(np.arange(size * 16) + 0.5) * (side / 16 / size)
    samples = cv2.remap(
        picture, *(np.float32(axis - 0.5) for axis in np.meshgrid(x + grid, y + grid)), cv2.INTER_LINEAR
    )
    truth = cv2.resize(samples, (size, size), interpolation=cv2.INTER_AREA).astype(float)
    errors = [
        np.abs(crop_square(half, square.scaled(0.5, 0.5), size, reduced=reduced) - truth).mean()
        for reduced in (True, False)
    ]
    assert errors[0] < errors[1] < 1 and truth.std() > 10


@pytest.mark.parametrize("angle", [0.0, 30.0, -110.0])
def test_a_crop_goes_back_to_where_its_pixels_came_from(angle):
    picture = cv2.GaussianBlur(texture(200, 220), (0, 0), 2)
    square = Square.from_corner(60.3, 51.8, 96.0, angle)
    result = crop_square(picture, square, 96)
    corners = np.float32(square.to_frame(np.array([(0.5, 0.5), (95.5, 0.5), (0.5, 95.5)]), 96)) - 0.5
    back = cv2.warpAffine(
        result,
        cv2.getAffineTransform(np.float32([(0, 0), (95, 0), (0, 95)]), corners),
        (220, 200),
        flags=cv2.INTER_LINEAR,
    )
    inside = cv2.erode(np.uint8(back.min(axis=2) > 0), np.ones((7, 7)))
    assert inside.sum() > 5000 and np.abs(back.astype(int) - picture)[inside > 0].max() <= 3


def published(image, box, size):
    """The geometry of the published code, step by step and per pixel."""
    middle, half = (box[:2] + box[2:]) / 2, 0.9 * max(box[2:] - box[:2])
    left, top = np.floor(middle - half).astype(int)
    right = int(np.ceil(middle[0] + half)) + 1
    side = right - left
    height, width = image.shape[:2]
    pads = [max(0, -top), max(0, top + side - height), max(0, -left), max(0, right - width)]
    square = cv2.copyMakeBorder(image[max(0, top) : top + side, max(0, left) : right], *pads, cv2.BORDER_REFLECT_101)
    if any(pads):
        weight = np.full((side, side), -9, np.float32)
        for place in range(side):
            for pad, away, line in (
                (pads[0], place, np.s_[place, :]),
                (pads[1], side - 1 - place, np.s_[place, :]),
                (pads[2], place, np.s_[:, place]),
                (pads[3], side - 1 - place, np.s_[:, place]),
            ):
                if pad:
                    weight[line] = np.maximum(weight[line], 1 - np.float32(away) / pad)
        blurred, result = (np.float32(part) / 255 for part in (cv2.GaussianBlur(square, (0, 0), 0.016 * side), square))
        result += (blurred - result) * np.clip(3 * weight + 1, 0, 1)[..., None]
        result += (np.median(result, axis=(0, 1)) - result) * np.clip(weight, 0, 1)[..., None]
        square = np.clip(np.rint(255 * result), 0, 255).astype(np.uint8)
    return cv2.resize(square, (size, size), interpolation=cv2.INTER_CUBIC if size > box[3] - box[1] else cv2.INTER_AREA)


@pytest.mark.parametrize(
    "box", [(100, 60, 150, 130), (10.4, 5.2, 71.7, 83.9), (130.5, 90.5, 199.25, 160), (40, 20, 180, 155)]
)
@pytest.mark.parametrize("size", [64, 256])
def test_published_geometry_to_the_pixel(box, size):
    picture, box = texture(170, 210, 4), np.array(box, float)
    square = box_square(box, 1.8).whole_pixels()
    result = crop_published(picture, square, size, box[3] - box[1]).astype(int)
    difference = np.abs(result - published(picture, box, size))
    # Where rounding differs by one in the square, resizing may make two of it.
    assert difference.max() <= 2 and (difference > 1).mean() < 1e-4 and difference.mean() < 0.01
    # Ours, of the same square, shows the same real pixels.
    smooth_one = crop_square(picture, square, size).astype(int)
    points = square.to_frame(np.stack(np.meshgrid(np.arange(size), np.arange(size)), axis=-1) + 0.5, size)
    deep = ((points > 45) & (points < np.array([210, 170]) - 45)).all(axis=-1)
    assert not deep.any() or np.abs(result - smooth_one)[deep].mean() < 2


def test_padding_is_never_black_and_changes_no_real_pixel():
    picture = texture(120, 160)
    result = crop_square(picture, Square.from_corner(-60, -50, 200), 100)
    assert result.min() > 70
    inside = result[26:-17, 31:]
    reference = cv2.resize(picture[2:116, 2:140], (69, 57), interpolation=cv2.INTER_AREA)
    assert np.abs(inside.astype(int)[:, :69] - reference[:, :69]).mean() < 4
    # The further outside, the less structure.
    assert result[:8, :8].std() < result[30:38, 35:43].std()
