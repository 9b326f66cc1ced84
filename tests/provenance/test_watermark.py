"""The watermark: what goes in comes out, after what usually happens to videos; nothing is found where nothing is."""

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from person_clips import swaying

from reenact.provenance.watermark import MOST, PERIOD, Marker, Watermark, allowed, sign_at, words_of
from reenact.provenance.watermark_reader import (
    STAGES,
    Reading,
    correlate,
    demodulated,
    frames_of,
    gather,
    read_watermark,
    spectra,
)

NUMBER = 0xC0FFEE07
Frames = list[tuple[float, np.ndarray]]


def scene(count: int = 100, width: int = 320, height: int = 256) -> Frames:
    """A moving head in front of a still background with some grain: (time, uint8 RGB)."""
    random = np.random.default_rng(4)
    behind = cv2.GaussianBlur(random.uniform(0, 255, (height, width, 3)).astype(np.float32), (0, 0), 6)
    behind = 128 + 4 * (behind - behind.mean())
    heads = swaying(10)
    frames = []
    for step in range(count):
        image = behind + random.normal(0, 1.5, behind.shape)
        left = round(60 + 30 * np.sin(step / 9))
        image[40:240, left : left + 200] = cv2.resize(heads[step % 10], (200, 200))
        frames.append((step / 25, image.clip(0, 255).astype(np.uint8)))
    return frames


def marked(frames: Frames, number: int = NUMBER, key: str = "reenact") -> Frames:
    mark = Marker(Watermark(key), number, frames[0][1].shape[1], frames[0][1].shape[0])
    return [(time, mark(image, time)) for time, image in frames]


@pytest.fixture(scope="module")
def plain() -> Frames:
    return scene()


@pytest.fixture(scope="module")
def video(plain: Frames) -> Frames:
    return marked(plain)


def encoded(path: Path, frames: Frames, codec: str = "libx264", **options: str) -> Path:
    """A video file of frames whose sides are even."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, options=options)
        stream.height, stream.width = frames[0][1].shape[:2]
        stream.pix_fmt = "yuv420p"
        stream.time_base = stream.codec_context.time_base = Fraction(1, 90_000)
        for time, image in frames:
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
            frame.pts, frame.time_base = round(time * 90_000), stream.time_base
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def found(path: Path, key: str = "reenact") -> Reading:
    return read_watermark(gather(frames_of(path)), Watermark(key))


def each(change: Callable[[np.ndarray], np.ndarray]) -> Callable[[Frames], Frames]:
    return lambda frames: [(time, change(image)) for time, image in frames]


def turned(degrees: float) -> Callable[[np.ndarray], np.ndarray]:
    matrix = cv2.getRotationMatrix2D((160, 128), degrees, 1.08)
    return lambda image: cv2.warpAffine(image, matrix, (320, 256), flags=cv2.INTER_CUBIC)


def boxed(image: np.ndarray) -> np.ndarray:
    """Played larger inside a black screen, as a recorded one shows it."""
    larger = cv2.resize(image, (400, 320), interpolation=cv2.INTER_CUBIC)
    return cv2.copyMakeBorder(larger, 60, 100, 120, 80, cv2.BORDER_CONSTANT)


def retimed(frames: Frames) -> Frames:
    """30 pictures a second of those of 25, from another beginning on."""
    return [(step / 30, frames[min(len(frames) - 1, int(7 + step * 25 / 30))][1]) for step in range(108)]


@pytest.mark.parametrize(
    ("change", "options"),
    [
        (None, {"crf": "16"}),
        (None, {"crf": "28"}),
        (each(lambda image: image[:, ::-1]), {"crf": "23"}),
        (each(lambda image: cv2.resize(image, (160, 128), interpolation=cv2.INTER_AREA)), {"crf": "23"}),
        (each(lambda image: image[12:242, 20:306]), {"crf": "23"}),
        (each(turned(3.0)), {"crf": "23"}),
        (lambda frames: retimed(each(boxed)(frames)), {"crf": "26"}),
        (lambda frames: [(time / 1.25, image) for time, image in frames], {"crf": "23"}),
        (lambda frames: frames[17:], {"crf": "23"}),
    ],
    ids=["high quality", "crf 28", "mirrored", "half size", "cropped", "turned", "screen", "faster", "beginning lost"],
)
def test_it_survives(
    tmp_path: Path, video: Frames, change: Callable[[Frames], Frames] | None, options: dict[str, str]
) -> None:
    changed = change(video) if change else video
    reading = found(encoded(tmp_path / "v.mp4", [(time - changed[0][0], image) for time, image in changed], **options))
    assert reading.found and reading.payload == NUMBER, reading


def test_vp9_in_webm(tmp_path: Path, video: Frames) -> None:
    options = {"crf": "36", "b": "0", "deadline": "realtime", "cpu-used": "8"}
    assert found(encoded(tmp_path / "v.webm", video, "libvpx-vp9", **options)).payload == NUMBER


def test_how_it_was_changed_is_told(tmp_path: Path, video: Frames) -> None:
    place = found(encoded(tmp_path / "v.mp4", each(turned(-4.0))(each(lambda image: image[:, ::-1])(video)))).place
    assert place.mirrored and place.speed == 1
    assert place.angle == pytest.approx(4.0, abs=0.6), "to be turned back by"
    assert place.scale == pytest.approx(1 / 1.08, rel=0.02)


def test_nothing_is_found_where_nothing_is(tmp_path: Path, plain: Frames) -> None:
    path = encoded(tmp_path / "v.mp4", plain, crf="18")
    assert not found(path).found
    assert not found(encoded(path, marked(plain, key="somebody else's")), "reenact").found, "another key"
    assert not found(encoded(path, [(step / 25, np.full((64, 64, 3), 9, np.uint8)) for step in range(9)])).found


def test_a_still_picture(tmp_path: Path, video: Frames) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), video[3][1][..., ::-1])
    assert found(tmp_path / "a.png").found


def test_it_is_hard_to_see(plain: Frames, video: Frames) -> None:
    for (_, before), (_, after) in zip(plain, video, strict=True):
        error = np.mean((before.astype(float) - after) ** 2)
        assert 10 * np.log10(255**2 / error) > 43
    wall = np.full((256, 256, 3), 150, np.uint8)
    wall[:, 128:] = 80
    ((_, after),) = marked([(0.0, wall)])
    assert np.abs(after.astype(int) - wall).max() <= 4, "on a wall, beside its edge too"


def test_black_and_white_stay_as_they_are() -> None:
    image = np.zeros((64, 128, 3), np.uint8)
    image[:, 64:] = 255
    assert np.array_equal(marked([(0.0, image)])[0][1], image)


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_alpha_stays_and_every_depth_gets_the_same_mark(plain: Frames, kind: type) -> None:
    full = np.iinfo(kind).max
    alpha = np.random.default_rng(0).integers(0, full, plain[0][1].shape[:2]).astype(kind)
    image = np.dstack([(plain[0][1].astype(float) * full / 255).astype(kind), alpha])
    ((_, result),) = marked([(0.0, image)])
    assert result.dtype == kind and np.array_equal(result[..., 3], alpha)
    change = (result[..., :3].astype(float) - image[..., :3]) * 255 / full
    wanted = marked(plain[:1])[0][1].astype(float) - plain[0][1]
    assert np.corrcoef(change.ravel(), wanted.ravel())[0, 1] > 0.95
    assert np.sqrt(np.mean(change**2)) < MOST + 0.3


def test_its_sign_changes() -> None:
    assert [sign_at(time) for time in (0, PERIOD / 2 - 0.01, PERIOD / 2, PERIOD)] == [1, 1, -1, 1]


def test_busy_places_hold_more() -> None:
    luma = np.full((64, 64), 128, np.float32)
    luma[:, 32:] += np.random.default_rng(0).normal(0, 12, (64, 32)).astype(np.float32)
    strength = allowed(luma)
    assert strength[:, 50:].mean() > 3 * strength[:, :16].mean() > 0


def test_payloads_have_32_bits() -> None:
    assert words_of(0xDEADBEEF)[:2] == [0xDEAD, 0xBEEF]
    for wrong in (-1, 1 << 32):
        with pytest.raises(ValueError, match="32 bits"):
            words_of(wrong)


def test_patterns_of_keys_and_numbers_differ() -> None:
    tiles = [Watermark().tile(0), Watermark().tile(1), Watermark("another key").tile(0)]
    assert np.corrcoef(tiles[0].ravel(), tiles[2].ravel())[0, 1] < 0.1
    assert 0.2 < np.corrcoef(tiles[0].ravel(), tiles[1].ravel())[0, 1] < 0.8, "the pilot is the same"
    assert tiles[0].std() == pytest.approx(1, abs=1e-3)


def test_the_pattern_stays_what_it_is() -> None:
    """Videos of today must be readable by the versions to come."""
    tile = Watermark().tile(NUMBER)
    assert tile[:2, :3].ravel() == pytest.approx(PATTERN, abs=1e-3)


PATTERN = [1.1499, 1.1685, 1.0847, 1.498, 1.5214, 1.476]


def test_the_chances_bound_what_noise_does(plain: Frames) -> None:
    """Pictures without a mark, under keys that they cannot know: no more exceed a threshold than it says."""
    evidence = gather((time, cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)) for time, image in plain[:60])
    parts = spectra(demodulated(evidence))
    for aligned, chances in ((True, STAGES[0].chances), (False, STAGES[1].chances / 2)):
        values = np.array([correlate(parts, Watermark(f"key {n}"), aligned).significance for n in range(200)])
        tenth, hundredth = (np.sqrt(2 * np.log(chances / share)) for share in (0.1, 0.01))
        assert np.mean(values > tenth) <= 0.2 and np.mean(values > hundredth) <= 0.04
        assert values.max() > tenth - 1, "the bound is no empty one"


def test_each_stage_asks_for_more() -> None:
    assert 5 < STAGES[0].threshold() < STAGES[1].threshold() < STAGES[2].threshold() < STAGES[3].threshold() < 9
