"""Reading the watermark: what frames hold whatever the key, and the search for a key's pattern in it.

How sure it is. The pilot's signs are random to whoever does not know the key, so that its correlation with a picture
that holds no mark is a sum of numbers with random signs: in standard deviations of that sum, it exceeds t with a
probability of at most 2 exp(-t^2 / 2), whatever the picture (Hoeffding). Each stage of the search looks at more places;
the threshold of each follows from how many, so that all stages together err once in 1 / FALSE_ALARMS files. A payload
whose CRC fits says as much as 16 further bits, less what was tried: below a threshold, the less sure the pilot is, the
fewer payloads are tried, so that those that fit by chance are as rare again.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from scipy import fft

from reenact.media.probe import probe, read_frames
from reenact.provenance.watermark import (
    CANONICAL,
    PERIOD,
    TILE,
    WORD_BITS,
    Watermark,
    canonical_size,
    frequencies,
    words_of,
)
from reenact.runtime.errors import UserError

MAX_SECONDS = 60.0
"""What is read of a file."""
SLOT = 0.08
"""Frames of this time are taken together, s."""
BLUR = 6.0
"""What is smoother than this is no mark, px of the canonical size."""

FALSE_ALARMS = 1e-6
"""Of all stages together, a file."""
CANDIDATES = 2
"""Matches of each stage that are looked at."""
LISTED, TRIED = 64, 512
"""Best values of each word that are combined; most likely combinations whose CRC is looked at, of which one in 2^16
fits."""
SCALES = np.exp(np.arange(np.log(0.55), np.log(1.8), 0.016))
ANGLES = np.arange(-6.0, 6.5, 1.0)
SPEEDS = (0.8, 0.9, 0.95, 0.975, 1.025, 1.05, 1.1, 1.25, 1.5, 2.0)


@dataclass(frozen=True)
class Evidence:
    """Frames without what can be no mark.

    Attributes:
        slots: float16 N x H x W, residuals, averaged over slots of time and weaker where much changes; the shorter
            side is CANONICAL px.
        times: of the slots from the first frame on, s.
    """

    slots: np.ndarray
    times: np.ndarray


@dataclass(frozen=True)
class Place:
    """Where a pattern may lie: how the frames have to be changed for it to lie as it was embedded."""

    scale: float = 1.0
    angle: float = 0.0
    mirrored: bool = False
    speed: float = 1.0


@dataclass(frozen=True)
class Reading:
    """What was found.

    Attributes:
        found: whether there is a mark of this key.
        payload: its 32 bits; None where they cannot be read.
        guess: the most likely payload, whether its CRC fits or not; None where nothing was found.
        significance: of the pilot, standard deviations.
        threshold: what `significance` has to reach alone, in that stage of the search.
        place: where it lies.
    """

    found: bool
    payload: int | None
    guess: int | None
    significance: float
    threshold: float
    place: Place


# ---- evidence ------------------------------------------------------------------------------------------------


def residual(luma: np.ndarray) -> np.ndarray:
    """Details of one frame, as strong everywhere: float32 of the same size, -2 to 2.

    Args:
        luma: H x W.
    """
    values = luma.astype(np.float32)
    detail = values - cv2.GaussianBlur(values, (0, 0), BLUR)
    spread = cv2.sqrt(np.maximum(cv2.blur(detail * detail, (13, 13)), 0)) + 1.0
    return np.clip(detail / spread, -2, 2)


def gather(frames: Iterable[tuple[float, np.ndarray]]) -> Evidence:
    """Evidence of frames (time in s, uint8 luma H x W), up to MAX_SECONDS of them.

    Raises:
        ValueError: there are none.
    """
    slots: list[np.ndarray] = []
    times: list[float] = []
    waiting: list[np.ndarray] = []
    seen: list[float] = []
    first = current = None
    size = (0, 0)
    for time, luma in frames:
        first = time if first is None else first
        if time - first > MAX_SECONDS:
            break
        slot = int((time - first) / SLOT + 1e-4)
        if waiting and slot != current:
            slots.append(np.mean(waiting, axis=0).astype(np.float16))
            times.append(float(np.mean(seen)))
            waiting, seen = [], []
        current = slot
        size = size if slots or waiting else canonical_size(luma.shape[1], luma.shape[0])
        larger = min(luma.shape) > CANONICAL
        waiting.append(residual(cv2.resize(luma, size, interpolation=cv2.INTER_AREA if larger else cv2.INTER_LINEAR)))
        seen.append(time - first)
    if not waiting:
        raise ValueError("no frames")
    slots.append(np.mean(waiting, axis=0).astype(np.float16))
    times.append(float(np.mean(seen)))
    return Evidence(_steadied(np.stack(slots)), np.array(times))


def _steadied(slots: np.ndarray) -> np.ndarray:
    """Residuals over how much they change at each place: what moves disturbs most."""
    mean = slots.mean(0, dtype=np.float32)
    change = np.zeros_like(mean)
    for slot in slots:
        change += (slot - mean) ** 2 / len(slots)
    weights = 1 / cv2.sqrt(cv2.blur(change, (5, 5)) + 0.05)
    return np.multiply(slots, weights.astype(np.float16), out=slots)


def frames_of(path: Path) -> Iterator[tuple[float, np.ndarray]]:
    """Times (s) and luma of a video, a picture, or a folder that stage render wrote (frames with times.csv).

    Raises:
        UserError: it cannot be read.
    """
    if path.is_dir():
        table = path / "times.csv"
        if not table.exists():
            raise UserError(f"{path}: a folder without times.csv; give its files one by one")
        for row in pd.read_csv(table).itertuples():
            image = cv2.imread(str(path / str(row.image)), cv2.IMREAD_COLOR)
            if image is None:
                raise UserError(f"{path / str(row.image)}: cannot be read")
            yield float(row.time), cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
        return
    for frame in read_frames(probe(path)):
        yield frame.time, frame.picture.luma(frame.width, frame.height)


def _sum(evidence: Evidence, weights: np.ndarray) -> np.ndarray:
    """Weighted sum of the slots, float32 H x W."""
    count, height, width = evidence.slots.shape
    flat = evidence.slots.reshape(count, -1)
    total = np.zeros(height * width, np.float32)
    for first in range(0, count, 32):  # float16 is widened a few slots at a time
        part = slice(first, first + 32)
        total += weights[part].astype(np.float32) @ flat[part].astype(np.float32)
    return total.reshape(height, width)


def demodulated(evidence: Evidence, speed: float = 1.0) -> list[np.ndarray]:
    """The evidence times the sine and the cosine of the sign's first harmonic, whatever its phase: two pictures.

    What stands still cancels. What is shorter than half a period is summed instead: one picture.
    """
    if evidence.times[-1] * speed < PERIOD / 2:
        return [_sum(evidence, np.ones(len(evidence.times)))]
    phase = 2 * np.pi * evidence.times * speed / PERIOD
    return [_sum(evidence, wave - wave.mean()) for wave in (np.sin(phase), np.cos(phase))]


def _with_sign(evidence: Evidence, delay: float, speed: float) -> np.ndarray:
    """The evidence times the sign itself, delayed by a time (s)."""
    half = np.floor((evidence.times * speed - delay) / (PERIOD / 2) + 1e-4)
    sign = 1.0 - 2.0 * (half % 2)
    return _sum(evidence, sign - sign.mean())


# ---- correlation with a key's pilot --------------------------------------------------------------------------


def moved(image: np.ndarray, place: Place) -> np.ndarray:
    """A picture scaled and turned about its middle, then mirrored; the speed is none of its business."""
    if place.scale != 1 or place.angle != 0:
        height, width = image.shape
        size = max(TILE // 2, round(width * place.scale)), max(TILE // 2, round(height * place.scale))
        if place.angle == 0:
            image = cv2.resize(image, size, interpolation=cv2.INTER_AREA if place.scale < 1 else cv2.INTER_LINEAR)
        else:
            matrix = cv2.getRotationMatrix2D((width / 2, height / 2), place.angle, place.scale)
            matrix[:, 2] += (size[0] - width) / 2, (size[1] - height) / 2
            image = cv2.warpAffine(image, matrix, size, flags=cv2.INTER_LINEAR)
    return image[:, ::-1] if place.mirrored else image


@cache
def _rings() -> tuple[np.ndarray, np.ndarray]:
    """Distance of each place of a half spectrum from its middle, and how many have it."""
    ring = np.rint(np.hypot(*frequencies())).astype(int).ravel()
    return ring, np.bincount(ring)


def spectra(images: list[np.ndarray]) -> list[np.ndarray]:
    """Half spectra of pictures that belong together, all tiles laid on one; as strong at every frequency."""
    found = []
    for image in images:
        height, width = image.shape
        down, across = -(-height // TILE), -(-width // TILE)
        padded = np.zeros((down * TILE, across * TILE), np.float32)
        padded[:height, :width] = image
        found.append(fft.rfft2(padded.reshape(down, TILE, across, TILE).sum((0, 2))))
    ring, count = _rings()
    power = sum(np.abs(one) ** 2 for one in found)
    energy = np.bincount(ring, power.ravel()) / count
    energy = np.convolve(np.pad(energy, 1, "edge"), [0.25, 0.5, 0.25], "valid") + 1e-9
    gain = 1 / np.sqrt(energy[ring].reshape(power.shape))
    gain /= np.maximum(np.sqrt(power) * gain / 2.5, 1)  # a few strong lines shall not decide
    return [(one * gain).astype(np.complex64) for one in found]


@dataclass(frozen=True)
class _Match:
    """The pilot's best place in spectra.

    Attributes:
        significance: standard deviations under random signs.
        shift: px of the tile, down and across.
        weights: of the spectra, for the mixture in which it is most significant.
    """

    significance: float
    shift: tuple[int, int]
    weights: np.ndarray


def correlate(parts: list[np.ndarray], watermark: Watermark, aligned: bool = False, mirrored: bool = False) -> _Match:
    """The pilot in whitened spectra: at its own place (`aligned`) or the best of all shifts; of two spectra, in their
    best mixture."""
    if mirrored:
        # Of a mirrored real picture the half spectrum is the conjugate, upside down.
        parts = [np.conj(np.roll(part[::-1], 1, axis=0)) for part in parts]
    flat = [part.ravel()[watermark.pilot_places] for part in parts]
    products = np.array([[float(np.vdot(a, b).real) for b in flat] for a in flat]) + 1e-9 * np.eye(len(parts))
    inverse = np.linalg.inv(products)
    if aligned:
        pilot = watermark.pilot.ravel()[watermark.pilot_places]
        maps = np.array([(one * pilot).real.sum() for one in flat]).reshape(-1, 1, 1)
    else:
        half = TILE * TILE / 2  # the inverse transform's mean, and its other half
        maps = np.stack([fft.irfft2(part * watermark.pilot, (TILE, TILE)) * half for part in parts])
    score = sum(inverse[i, j] * maps[i] * maps[j] for i in range(len(parts)) for j in range(len(parts)))
    place = divmod(int(np.argmax(score)), score.shape[1])
    return _Match(float(np.sqrt(score[place])), place, inverse @ maps[:, place[0], place[1]])


# ---- the search ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Stage:
    """A part of the search.

    Attributes:
        places: where it looks.
        aligned: without shifts.
        chances: how much more likely noise exceeds a threshold t somewhere than exp(-t^2 / 2); from
            docs/experiments/watermark.md.
    """

    name: str
    places: tuple[Place, ...]
    chances: float
    aligned: bool = False

    def threshold(self) -> float:
        """Significance that noise reaches in FALSE_ALARMS / len(STAGES) of all files."""
        return float(np.sqrt(2 * np.log(self.chances * len(STAGES) / FALSE_ALARMS)))

    def tries(self, significance: float) -> int:
        """How many combinations may be tried of a match, so that noise passes for a mark by its CRC as seldom.

        Noise gets to a significance `too_often` as often as to the threshold. Summed over all significances below,
        that is as much as 1 + log(TRIED) times one of them, since each may be tried until it is TRIED times.
        """
        too_often = np.exp((self.threshold() ** 2 - significance**2) / 2)
        return min(TRIED, int((1 << WORD_BITS) / (CANDIDATES * (1 + np.log(TRIED)) * too_often)))


BOTH = (False, True)
STAGES = (
    Stage("as it was", (Place(),), 2, aligned=True),
    Stage("shifted", tuple(Place(mirrored=m) for m in BOTH), 4e3),
    Stage("scaled", tuple(Place(scale, mirrored=m) for scale in SCALES for m in BOTH), 4e5),
    Stage(
        "turned",
        tuple(
            Place(scale, angle, m)
            for scale in SCALES[(SCALES > 0.87) & (SCALES < 1.15)]
            for angle in ANGLES
            for m in BOTH
        ),
        1e6,
    ),
    Stage("faster or slower", tuple(Place(1.0, 0.0, m, speed) for speed in SPEEDS for m in BOTH), 4e4),
)
"""From the likely to the far-fetched."""


def read_watermark(evidence: Evidence, watermark: Watermark) -> Reading:
    """Search for a key's mark: first as it was embedded, then shifted, mirrored, scaled, turned, faster or slower."""
    best = Reading(False, None, None, 0.0, STAGES[0].threshold(), Place())
    for stage in STAGES:
        matches = sorted(_matches(evidence, watermark, stage), key=lambda match: -match[0].significance)[:CANDIDATES]
        for match, place in matches:
            tries = stage.tries(match.significance)
            if not tries:
                continue
            payload, guess, place = _decoded(evidence, watermark, match, place, stage, tries)
            alone = match.significance >= stage.threshold()
            if alone or payload is not None:
                reading = Reading(True, payload, guess, match.significance, stage.threshold(), place)
                if payload is not None:
                    return reading
                best = reading if not best.found else best
        if not best.found and matches and matches[0][0].significance > best.significance:
            match, place = matches[0]
            best = Reading(False, None, None, match.significance, stage.threshold(), place)
    return best


def _matches(evidence: Evidence, watermark: Watermark, stage: Stage) -> Iterator[tuple[_Match, Place]]:
    images: list[np.ndarray] = []
    parts: list[np.ndarray] = []
    before: Place | None = None
    for place in stage.places:
        if before is None or place.speed != before.speed:
            images = demodulated(evidence, place.speed)
            images = images if stage.aligned else [_middle(image) for image in images]
        plain = replace(place, mirrored=False)
        if plain != before:
            parts = spectra([moved(image, plain) for image in images])
        before = plain
        yield correlate(parts, watermark, stage.aligned, place.mirrored), place


def _middle(image: np.ndarray) -> np.ndarray:
    """What of a long picture is searched: far from its middle, a small error of scale or angle moves much."""
    height, width = image.shape
    most = 3 * CANONICAL // 2
    top, left = max(0, (height - most) // 2), max(0, (width - most) // 2)
    return image[top : top + most, left : left + most]


def _decoded(
    evidence: Evidence, watermark: Watermark, match: _Match, place: Place, stage: Stage, tries: int
) -> tuple[int | None, int, Place]:
    """The payload of a match, the most likely one whatever its CRC, and the place more exactly."""
    images = demodulated(evidence, place.speed)
    if not stage.aligned:
        images = [_middle(image) for image in images]
        match, place = _refined(images, watermark, match, place)
    image = images[0]
    if len(images) == 2:
        sine, cosine = match.weights
        delay = float(np.arctan2(-cosine, sine)) * PERIOD / (2 * np.pi)
        square = _with_sign(evidence, delay, place.speed)
        square = square if stage.aligned else _middle(square)
        # Encoders round the sign's edges off: what is left lies between a square wave and its first harmonic.
        image = sine * images[0] + cosine * images[1]
        image = square / (square.std() + 1e-9) + image / (image.std() + 1e-9)
    (spectrum,) = spectra([moved(image, place)])
    again = correlate([spectrum], watermark, stage.aligned)
    ky, kx = frequencies()
    back = np.exp(2j * np.pi * (ky * again.shift[0] + kx * again.shift[1]) / TILE)
    return *_agreed(watermark.likelihoods(spectrum * back * np.sign(again.weights[0])), tries), place


def _refined(images: list[np.ndarray], watermark: Watermark, match: _Match, place: Place) -> tuple[_Match, Place]:
    """Scale and angle more exactly."""
    match = correlate(spectra([moved(image, place) for image in images]), watermark)
    for step in (0.005, 0.002):
        near = [replace(place, scale=place.scale * (1 + i * step)) for i in (-2, -1, 1, 2)]
        near += [replace(place, angle=place.angle + 60 * i * step) for i in (-2, -1, 1, 2)]
        for other in near:
            found = correlate(spectra([moved(image, other) for image in images]), watermark)
            if found.significance > match.significance:
                match, place = found, other
    return match, place


def _agreed(likelihoods: list[np.ndarray], tries: int) -> tuple[int | None, int]:
    """The most likely payload whose CRC fits, if it is among the so many most likely ones; and the most likely of
    all."""
    best = [np.argpartition(one, -LISTED)[-LISTED:] for one in likelihoods]
    scores = [one[found] for one, found in zip(likelihoods, best, strict=True)]
    together = scores[0][:, None, None] + scores[1][:, None] + scores[2]
    guess = int(likelihoods[0].argmax()) << 16 | int(likelihoods[1].argmax())
    for place in np.argsort(-together, axis=None)[:tries]:
        high, low, crc = (int(found[i]) for found, i in zip(best, np.unravel_index(place, together.shape), strict=True))
        if words_of(high << 16 | low)[2] == crc:
            return high << 16 | low, guess
    return None, guess
