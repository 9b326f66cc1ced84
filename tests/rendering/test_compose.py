"""Composing: straight alpha, backgrounds in time, and pasting at the very place the crop came from."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from person_clips import swaying, write_person
from videos import texture, write_video

from reenact.data.clip import Clip, write_clip
from reenact.data.images import resize_to
from reenact.faces.crop_pixels import crop_square
from reenact.faces.square import Square
from reenact.rendering.compose import backgrounds, over, paste, typical_photo, unpremultiply
from reenact.runtime.errors import UserError


def disc(size: int = 64) -> tuple[np.ndarray, np.ndarray]:
    """An orange disc with a soft edge, times its matte, and the matte."""
    rows, columns = np.mgrid[:size, :size] - (size - 1) / 2
    matte = np.clip((0.35 * size - np.hypot(rows, columns)) / 6 + 0.5, 0, 1).astype(np.float32)
    return matte[..., None] * np.float32([0.9, 0.5, 0.2]), matte


@pytest.mark.parametrize("side", [64, 160])
def test_straight_alpha_has_one_colour_up_to_and_past_the_edge(side: int) -> None:
    rgb, matte = (resize_to(image, side) for image in disc())
    noisy = np.clip(rgb + np.random.default_rng(0).normal(0, 0.004, rgb.shape), 0, 1).astype(np.float32)
    image = unpremultiply(noisy, matte) / 65535
    assert np.abs(image[..., 3] - matte).max() < 1e-4
    near = matte > 0.02
    assert np.abs(image[near][:, :3] - [0.9, 0.5, 0.2]).max() < 0.08, "no black fringe"
    assert np.abs(image[..., :3] * image[..., 3:] - rgb).max() < 0.02, "composed on black it is the avatar"


def test_over_is_exact() -> None:
    rgb, matte = disc()
    behind = texture(64, 64)
    expected = 255 * rgb + (1 - matte[..., None]) * behind
    assert np.abs(over(rgb, matte, behind) - expected).max() <= 0.51


def test_a_paste_of_the_crop_itself_changes_nothing() -> None:
    frame = texture(180, 240)
    for angle in (0.0, 20.0):
        square = Square.from_corner(60.3, 30.7, 90.4, angle)
        rgb = _cut(frame, square.corners(), 128)
        pasted = paste(frame, rgb, np.ones((128, 128), np.float32), square, 0.1)
        assert np.abs(pasted.astype(int) - frame).mean() < 0.2
        assert np.abs(pasted.astype(int) - frame).max() < 12


def test_the_square_is_the_one_of_the_crop() -> None:
    frame = texture(180, 240)
    square = Square.from_corner(60.3, 30.7, 90.4)
    assert np.abs(255 * _cut(frame, square.corners(), 128) - crop_square(frame, square, 128)).mean() < 1


def _cut(frame: np.ndarray, corners: np.ndarray, size: int) -> np.ndarray:
    """The square with these corners, by cubic interpolation at the centres of the crop's pixels."""
    from scipy.ndimage import map_coordinates

    steps = (np.arange(size) + 0.5) / size
    places = (
        corners[0] + steps[None, :, None] * (corners[1] - corners[0]) + steps[:, None, None] * (corners[2] - corners[0])
    )
    channels = [
        map_coordinates(frame[..., c].astype(float), [places[..., 1] - 0.5, places[..., 0] - 0.5], order=3)
        for c in range(3)
    ]
    return (np.stack(channels, axis=2).clip(0, 255) / 255).astype(np.float32)


@pytest.mark.parametrize("side", [40.0, 100.0, 200.0])
def test_paste_blends_by_matte_and_seam(side: int) -> None:
    frame = np.full((150, 200, 3), 100, np.uint8)
    white = np.ones((64, 64, 3), np.float32)
    square = Square.from_corner(50.0, 20.0, side)
    seam = paste(frame, white, np.ones((64, 64), np.float32), square, 0.2).astype(int)
    if side < 120:
        assert seam[int(20 + side / 2), int(50 + side / 2)].tolist() == [255] * 3
        assert np.abs(np.diff(seam[int(20 + side / 2), :, 0])).max() < 60 * 40 / side, "no hard edge"
    assert (seam[:20] == 100).all() and (seam[:, :50] == 100).all(), "outside of the square the frame is untouched"
    nothing = paste(frame, 0 * white, np.zeros((64, 64), np.float32), square, 0.2)
    assert (nothing == frame).all()


def test_a_square_outside_of_the_frame() -> None:
    frame = texture(60, 80)
    square = Square.from_corner(100.0, 10.0, 30.0)
    assert (paste(frame, np.ones((8, 8, 3), np.float32), np.ones((8, 8), np.float32), square, 0.1) == frame).all()


def test_backgrounds(tmp_path: Path) -> None:
    colour = list(backgrounds("#ff8000", 32, [0.0, 0.1]))
    assert len(colour) == 2 and colour[0][5, 5].tolist() == [255, 128, 0]
    greys = [np.full((48, 96, 3), level, np.uint8) for level in (40, 90, 140, 190)]
    path = write_video(tmp_path / "b.mp4", greys, rate=10)
    found = [int(image[16, 16, 0]) for image in backgrounds(str(path), 32, [0, 0.05, 0.1, 0.25, 0.39, 0.4, 0.55, 0.8])]
    assert found == pytest.approx([40, 40, 90, 140, 190, 40, 90, 40], abs=3), (
        "each at its time, then from the beginning again"
    )
    with pytest.raises(UserError, match="no such file"):
        next(backgrounds(str(tmp_path / "absent.png"), 32, [0.0]))


def test_the_typical_photo_is_of_the_usual_pose(tmp_path: Path) -> None:
    frames = swaying(8)
    crops, _ = write_person(tmp_path / "a", frames, ["train"] * 6 + ["holdout"] * 2)
    assert typical_photo(Clip(crops)).shape == (256, 256, 3), "without landmarks: one from the middle"
    table = pd.DataFrame(
        {"index": range(8), "role": ["train"] * 6 + ["holdout"] * 2, "image": [f"{i}.png" for i in range(8)]}
    )
    marks = np.zeros((8, 68, 2))
    marks += np.array([9, 1.5, 1.5, 9, np.nan, 1.5, 9, 9])[:, None, None]

    def typical() -> np.ndarray:
        with write_clip(tmp_path / "b.zip") as writer:
            for name, frame in zip(table["image"], frames, strict=True):
                writer.add(name, frame)
            writer.add_landmarks(marks)
            writer.finish(table)
        return typical_photo(Clip(tmp_path / "b.zip"))

    assert (typical() == frames[1]).all(), "the first of those that are like most"
    for eye in (36, 42):
        marks[:, eye + 3, 0] += 0.1
        marks[[0, 1, 2, 3, 5], eye + 1, 1] -= np.array([0.02, 0.02, 0.03, 0.02, 0.09])
    assert (typical() == frames[2]).all(), "of those, the one with the widest eyes"
    driver, _ = write_person(tmp_path / "c", frames, ["drive"] * 8)
    with pytest.raises(UserError, match="not an identity's crops"):
        typical_photo(Clip(driver))
