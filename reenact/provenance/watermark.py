"""An imperceptible mark in the frames of a video that survives what usually happens to videos: the pattern, and how it
gets into frames. `watermark_reader` reads it.

In space: a pattern that repeats in squares of TILE px, on a frame whose shorter side is CANONICAL px; other frames get
it enlarged or reduced, so that a video that was resized is read as if it had not been. In time: its sign changes every
half PERIOD, so that the reader can cancel what stands still, and a mean over frames holds no mark.

In the pattern's spectrum, a key gives each coefficient of a band a sign. A part of them, the pilot, is the same for
every payload; it tells where the pattern lies, how it was scaled, turned and mirrored, and when its sign changes. The
others are WORDS words of 16 bits, each a row of the Hadamard matrix of 2^16 rows at columns that the key draws: the
payload, and a CRC of it.

Spread-spectrum marks: Cox, Kilian, Leighton, Shamoon, IEEE Transactions on Image Processing 6 (1997). Nothing here is
learned, and nothing withstands somebody who knows the key.
"""

import binascii
import hashlib
from functools import cache

import cv2
import numpy as np

CANONICAL = 256
TILE = 128
LOW, HIGH = 4.0, 14.0
"""Band of the pattern, cycles per tile: what encoders keep longest."""
PERIOD = 0.96
"""Of the sign, s."""
PILOT = 0.4
"""Share of the band that is the pilot."""
WORDS, WORD_BITS, PAYLOAD_BITS = 3, 16, 32
PUBLIC_KEY = "reenact"

STRENGTH = 0.5
"""Root mean square of the mark where a picture is flat, levels of 255."""
FLAT, BUSY = 0.8, 8.0
"""Standard deviation of the luma around a pixel, levels: flat, and so busy that more changes nothing."""
GROWTH = 1.25
"""Power of that deviation with which the mark grows in between."""
MOST = 1.75
"""Greatest root mean square of the mark over a frame, levels: 43.2 dB, and less by rounding."""
HEADROOM = 16.0
"""Levels from black and from white within which the mark fades out: there is nothing to hide it in."""


class Watermark:
    """The pattern of one key.

    Args:
        key: any text; whoever knows it can read, remove and forge the mark.
    """

    def __init__(self, key: str = PUBLIC_KEY) -> None:
        ky, kx = frequencies()
        radius = np.hypot(ky, kx)
        # A half plane: the spectrum of a real picture repeats itself in the other.
        self._band = np.flatnonzero(((radius >= LOW) & (radius <= HIGH) & (kx > 0)).ravel())
        count = len(self._band)
        # Bytes of a hash instead of a library's random numbers, which later versions may change.
        order = np.argsort(_drawn("order", key, "<u8", count), kind="stable")
        self._signs = (1.0 - 2.0 * (_drawn("signs", key, "<u2", 2 * count) & 1)).astype(np.float32)
        pilot, *words = np.split(
            order,
            [round(PILOT * count)]
            + [round(PILOT * count) + place * (count - round(PILOT * count)) // WORDS for place in range(1, WORDS)],
        )
        self._pilot = np.concatenate([pilot, pilot + count])
        self._words = [np.concatenate([word, word + count]) for word in words]
        self._columns = [
            _drawn(f"columns {number}", key, "<u2", len(word)).astype(np.int64)
            for number, word in enumerate(self._words)
        ]
        self.pilot_places = self._band[pilot]
        """Of the pilot in a flattened half spectrum."""
        self.pilot = np.conj(self._spectrum(self._pilot_values()))
        """What a spectrum is multiplied by to be correlated with the pilot: TILE x TILE / 2 + 1."""

    def _pilot_values(self) -> np.ndarray:
        values = np.zeros(2 * len(self._band), np.float32)
        values[self._pilot] = self._signs[self._pilot]
        return values

    def _spectrum(self, values: np.ndarray) -> np.ndarray:
        """Real parts of the band, then imaginary ones -> half spectrum."""
        real, imaginary = np.split(values, 2)
        spectrum = np.zeros(TILE * (TILE // 2 + 1), np.complex64)
        spectrum[self._band] = real + 1j * imaginary
        return spectrum.reshape(TILE, -1)

    def tile(self, payload: int) -> np.ndarray:
        """The pattern with a payload of 32 bits: float32 TILE x TILE, mean 0, standard deviation 1.

        Raises:
            ValueError: more than 32 bits.
        """
        values = self._pilot_values()
        for word, places, columns in zip(words_of(payload), self._words, self._columns, strict=True):
            values[places] = self._signs[places] * _row(word, columns)
        tile = np.fft.irfft2(self._spectrum(values), (TILE, TILE)).astype(np.float32)
        return tile / tile.std()

    def likelihoods(self, spectrum: np.ndarray) -> list[np.ndarray]:
        """How well each value of each word fits a spectrum that lies as it was embedded: WORDS times 2^16, where noise
        has the standard deviation 1."""
        band = spectrum.ravel()[self._band]
        values = np.concatenate([band.real, band.imag]).astype(np.float32) * self._signs
        found = []
        for places, columns in zip(self._words, self._columns, strict=True):
            chips = np.bincount(columns, values[places], 1 << WORD_BITS).astype(np.float32)
            found.append(_hadamard(chips) / (np.linalg.norm(values[places]) + 1e-9))
        return found


@cache
def frequencies() -> tuple[np.ndarray, np.ndarray]:
    """Cycles per tile of a half spectrum, down (TILE x 1) and across (1 x TILE / 2 + 1)."""
    return np.fft.fftfreq(TILE, 1 / TILE)[:, None].astype(np.float32), np.arange(TILE // 2 + 1, dtype=np.float32)[None]


def words_of(payload: int) -> list[int]:
    """A payload of 32 bits as words of 16, with their CRC.

    Raises:
        ValueError: more than 32 bits.
    """
    if not 0 <= payload < 1 << PAYLOAD_BITS:
        raise ValueError(f"payload {payload:#x}: needed are {PAYLOAD_BITS} bits")
    return [payload >> 16, payload & 0xFFFF, binascii.crc_hqx(payload.to_bytes(4, "big"), 0xFFFF)]


def _drawn(what: str, key: str, kind: str, count: int) -> np.ndarray:
    size = count * np.dtype(kind).itemsize
    return np.frombuffer(hashlib.shake_256(f"reenact watermark 1, {what}, {key}".encode()).digest(size), kind)


def _row(number: int, columns: np.ndarray) -> np.ndarray:
    """Entries of a row of the Hadamard matrix: -1 where row and column number share an odd number of ones."""
    shared = columns & number
    for shift in (8, 4, 2, 1):
        shared = shared ^ (shared >> shift)
    return (1 - 2 * (shared & 1)).astype(np.float32)


def _hadamard(values: np.ndarray) -> np.ndarray:
    """The Hadamard matrix times a vector of 2^n values, by the fast transform."""
    size = 1
    while size < len(values):
        pairs = values.reshape(-1, 2, size)
        values = np.stack([pairs[:, 0] + pairs[:, 1], pairs[:, 0] - pairs[:, 1]], axis=1).reshape(-1)
        size *= 2
    return values


# ---- embedding -----------------------------------------------------------------------------------------------


class Marker:
    """Marks the frames of one video.

    Args:
        watermark, payload: what is put in.
        width, height: of the frames, px.
    """

    def __init__(self, watermark: Watermark, payload: int, width: int, height: int) -> None:
        self._frame, self._size = (width, height), canonical_size(width, height)
        across, down = self._size
        self._pattern = np.tile(watermark.tile(payload), (-(-down // TILE), -(-across // TILE)))[:down, :across].copy()

    def __call__(self, image: np.ndarray, time: float) -> np.ndarray:
        """A marked copy.

        Args:
            image: H x W x 3 RGB, or H x W x 4 with straight alpha, which stays as it is; uint8 or uint16.
            time: of the frame, s.
        """
        full = np.iinfo(image.dtype).max
        colour = np.ascontiguousarray(image[..., :3])
        luma = cv2.cvtColor(colour, cv2.COLOR_RGB2GRAY)
        small = cv2.resize(luma, self._size, interpolation=cv2.INTER_AREA).astype(np.float32)
        change = self._pattern * allowed(small if full == 255 else small * (255 / full))
        change *= sign_at(time) * full / 255 * min(1.0, MOST / max(cv2.norm(change) / change.size**0.5, 1e-6))
        if self._size != self._frame:
            change = cv2.resize(change, self._frame, interpolation=cv2.INTER_LINEAR)
        marked = cv2.add(colour, cv2.merge([change] * 3), dtype=cv2.CV_8U if full == 255 else cv2.CV_16U)
        return marked if image.shape[2] == 3 else np.dstack([marked, image[..., 3]])


def canonical_size(width: int, height: int) -> tuple[int, int]:
    """Width and height, the shorter CANONICAL px."""
    scale = CANONICAL / min(width, height)
    return round(width * scale), round(height * scale)


def sign_at(time: float) -> int:
    """The pattern's sign at a time (s): 1 or -1."""
    return 1 if int(time / (PERIOD / 2) + 1e-4) % 2 == 0 else -1


def allowed(luma: np.ndarray) -> np.ndarray:
    """Root mean square of the mark at each pixel, levels: more where a picture is busy, none at black and white.

    Args:
        luma: float32 H x W, 0 to 255.
    """
    mean = cv2.blur(luma, (5, 5))
    # Rounding can take a variance of nothing below 0.
    spread = cv2.sqrt(np.maximum(cv2.blur(luma * luma, (5, 5)) - mean * mean, 0))
    # The least around each pixel: beside a single edge, the flat sides of it show everything.
    spread = cv2.erode(spread, np.ones((7, 7), np.uint8), borderType=cv2.BORDER_REPLICATE)
    strength = cv2.GaussianBlur((np.clip(spread, FLAT, BUSY) / FLAT) ** GROWTH, (0, 0), 3)
    return STRENGTH * strength * np.clip(np.minimum(luma, 255 - luma) / HEADROOM, 0, 1)
