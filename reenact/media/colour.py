"""Colours of video: from stored YUV to 8-bit RGB as a BT.709 screen shows it; HDR and wide gamuts are mapped to it.

Transfer functions are those of ITU-R BT.2100-2 (PQ, HLG) and BT.1886; the tone curve is the one of Report ITU-R
BT.2390-8, section 5.4.1, from 1000 cd/m2 to 203 cd/m2, which is reference white in HDR (Report BT.2408) and white in
SDR. Below about 87 cd/m2, where skin mostly lies, it changes nothing; above, highlights are compressed instead of
clipped.
"""

from dataclasses import dataclass
from functools import cache
from typing import Literal

import cv2
import numpy as np

Transfer = Literal["sdr", "pq", "hlg"]

# Levels of the integer RGB that goes into `to_screen`: fine enough for 12 bits.
LEVELS = 4096
REFERENCE_WHITE, PEAK = 203.0, 1000.0
_SCREEN_GAMMA = 2.4
# The system gamma of HLG on a display of 1000 cd/m2 (BT.2100-2, table 5).
_HLG_GAMMA = 1.2
_SCENE_LUMINANCE = np.array([[0.2627, 0.6780, 0.0593]], np.float32)
# Rows are mapped in strips that stay in the processor's cache.
_STRIP = 64

# Chromaticities of red, green, blue and white, by ffmpeg's number (ITU-T H.273, table 2).
_D65 = (0.3127, 0.3290)
_PRIMARIES = {
    1: ((0.64, 0.33), (0.30, 0.60), (0.15, 0.06), _D65),  # BT.709
    9: ((0.708, 0.292), (0.170, 0.797), (0.131, 0.046), _D65),  # BT.2020
    11: ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060), (0.314, 0.351)),  # DCI-P3
    12: ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060), _D65),  # Display P3
}
GAMUTS = {9: "BT.2020", 11: "DCI-P3", 12: "Display P3"}
# Weights of red and blue in luma, by ffmpeg's number of the matrix (H.273, table 4).
_LUMA = {
    1: (0.2126, 0.0722),
    4: (0.30, 0.11),
    5: (0.299, 0.114),
    6: (0.299, 0.114),
    7: (0.212, 0.087),
    9: (0.2627, 0.0593),
    10: (0.2627, 0.0593),
}
MATRICES = frozenset(_LUMA)


@dataclass(frozen=True)
class Colours:
    """How a video stores its colours.

    Attributes:
        matrix: of luma and chroma, number as in H.273; one of MATRICES.
        full: whether all code values are used (else black is 16 and white 235, of 256).
        bits: of a sample.
        transfer: "pq", "hlg", or "sdr" for everything else.
        primaries: number as in H.273.
    """

    matrix: int
    full: bool
    bits: int
    transfer: Transfer
    primaries: int

    @property
    def mapped(self) -> bool:
        """Whether there is more to do than the matrix."""
        return self.transfer != "sdr" or self.primaries in GAMUTS

    @property
    def step(self) -> str:
        """What the mapping does, in words; empty if there is none."""
        gamut = GAMUTS.get(self.primaries, "BT.709")
        if self.transfer != "sdr":
            curve = f"BT.2390, {PEAK:g} to {REFERENCE_WHITE:g} cd/m2"
            return f"HDR ({self.transfer.upper()}, {gamut}) tone-mapped to SDR BT.709 ({curve})"
        return f"colours mapped from {gamut} to BT.709" if self.mapped else ""


def to_rgb(
    luma: np.ndarray, blue: np.ndarray, red: np.ndarray, colours: Colours, work: np.ndarray | None = None
) -> np.ndarray:
    """RGB of three planes of one size for a BT.709 screen.

    Args:
        luma, blue, red: uint8 or uint16, H x W.
        colours: what they mean.
        work: memory to work in, of the planes' type, H x W x 3; fresh memory costs more time than the work itself.

    Returns:
        uint8, H x W x 3.
    """
    planes = cv2.merge([luma, blue, red], work)
    if not colours.mapped:
        rgb = cv2.transform(planes, _matrix(colours.matrix, colours.full, colours.bits, 255))
        return rgb if rgb.dtype == np.uint8 else np.minimum(rgb, 255).astype(np.uint8)
    rgb = cv2.transform(planes.astype(np.uint16), _matrix(colours.matrix, colours.full, colours.bits, LEVELS - 1))
    return to_screen(np.minimum(rgb, LEVELS - 1), colours.transfer, colours.primaries)


def to_screen(rgb: np.ndarray, transfer: Transfer, primaries: int) -> np.ndarray:
    """Map stored RGB (integers from 0 to LEVELS - 1, H x W x 3) to uint8 RGB for a BT.709 screen."""
    result = np.empty(rgb.shape, np.uint8)
    linear, gain, encode = _linear_table(transfer), _gain_table(transfer), _encode_table()
    gamut = _to_bt709(primaries)
    for top in range(0, len(rgb), _STRIP):
        codes = rgb[top : top + _STRIP]
        light = linear.take(codes, mode="clip")
        if transfer == "pq":
            light *= _on_all(gain.take(_brightest(codes), mode="clip"))
        elif transfer == "hlg":
            # The display's response: every channel is raised by the same factor, which follows the scene's luminance.
            system = cv2.pow(cv2.transform(light, _SCENE_LUMINANCE), _HLG_GAMMA - 1)
            light *= _on_all(system * gain.take(_root_index(system * _brightest(light)), mode="clip"))
        result[top : top + _STRIP] = encode.take(_root_index(cv2.transform(light, gamut)), mode="clip")
    return result


def pq_to_light(signal: np.ndarray) -> np.ndarray:
    """EOTF of PQ (BT.2100-2, table 4): signal 0 to 1 -> cd/m2."""
    power = np.power(np.asarray(signal, float), 1 / _PQ_M2)
    return 10_000 * np.power(np.maximum(power - _PQ_C1, 0) / (_PQ_C2 - _PQ_C3 * power), 1 / _PQ_M1)


def light_to_pq(light: np.ndarray | float) -> np.ndarray:
    """Inverse of `pq_to_light`."""
    power = np.power(np.asarray(light, float) / 10_000, _PQ_M1)
    return np.power((_PQ_C1 + _PQ_C2 * power) / (1 + _PQ_C3 * power), _PQ_M2)


def hlg_to_scene(signal: np.ndarray) -> np.ndarray:
    """Inverse OETF of HLG (BT.2100-2, table 5): signal 0 to 1 -> light of the scene, 0 to 1."""
    signal = np.asarray(signal, float)
    a, b, c = 0.17883277, 0.28466892, 0.55991073
    return np.where(signal <= 0.5, signal**2 / 3, (np.exp((signal - c) / a) + b) / 12)


def tone_curve(light: np.ndarray) -> np.ndarray:
    """The EETF of BT.2390-8, section 5.4.1: cd/m2 up to PEAK -> cd/m2 up to REFERENCE_WHITE; more is clipped."""
    signal = np.minimum(light_to_pq(light) / light_to_pq(PEAK), 1)
    top = float(light_to_pq(REFERENCE_WHITE) / light_to_pq(PEAK))
    knee = 1.5 * top - 0.5
    t = np.maximum(signal - knee, 0) / (1 - knee)
    bent = (2 * t**3 - 3 * t**2 + 1) * knee + (t**3 - 2 * t**2 + t) * (1 - knee) + (3 * t**2 - 2 * t**3) * top
    return pq_to_light(np.where(signal < knee, signal, bent) * light_to_pq(PEAK))


# ---- tables -------------------------------------------------------------------------------------------------

_PQ_M1, _PQ_M2 = 2610 / 16384, 2523 / 4096 * 128
_PQ_C1, _PQ_C2, _PQ_C3 = 3424 / 4096, 2413 / 4096 * 32, 2392 / 4096 * 32


def _brightest(rgb: np.ndarray) -> np.ndarray:
    red, green, blue = cv2.split(rgb)
    return cv2.max(cv2.max(red, green), blue)


def _on_all(factor: np.ndarray) -> np.ndarray:
    return cv2.merge([factor, factor, factor])


def _root_index(light: np.ndarray) -> np.ndarray:
    """Index into a table whose steps are even in the square root: fine in the dark, where eyes are."""
    return (cv2.sqrt(np.clip(light, 0, 1)) * (LEVELS - 1) + 0.5).astype(np.uint16)


@cache
def _matrix(matrix: int, full: bool, bits: int, levels: int) -> np.ndarray:
    """3 x 4: stored luma, blue and red difference, 1 -> R'G'B' from 0 to `levels` (H.273, equations 46 to 51)."""
    red, blue = _LUMA[matrix]
    green = 1 - red - blue
    unit = 1 << (bits - 8)
    black, span, chroma = (0, (1 << bits) - 1, (1 << bits) - 1) if full else (16 * unit, 219 * unit, 224 * unit)
    turn = (
        np.array(
            [
                [1, 0, 2 * (1 - red)],
                [1, -2 * (1 - blue) * blue / green, -2 * (1 - red) * red / green],
                [1, 2 * (1 - blue), 0],
            ]
        )
        * levels
        / np.array([span, chroma, chroma])
    )
    return np.column_stack([turn, -turn @ np.array([black, 128 * unit, 128 * unit])])


@cache
def _linear_table(transfer: Transfer) -> np.ndarray:
    """Light by code value; of PQ and SDR relative to the reference white, of HLG that of the scene."""
    signal = np.arange(LEVELS) / (LEVELS - 1)
    tables = {
        "pq": lambda: pq_to_light(signal) / REFERENCE_WHITE,
        "hlg": lambda: hlg_to_scene(signal),
        "sdr": lambda: signal**_SCREEN_GAMMA,
    }
    return tables[transfer]().astype(np.float32)


@cache
def _gain_table(transfer: Transfer) -> np.ndarray:
    """What light is multiplied by, by the brightest channel.

    The index is that channel's code in PQ; in HLG the root of the channel relative to the peak.
    """
    codes = np.arange(LEVELS) / (LEVELS - 1)
    light = pq_to_light(codes) if transfer == "pq" else codes**2 * PEAK
    gain = tone_curve(light) / np.maximum(light, 1e-6)
    gain[0] = 1.0
    return (gain if transfer == "pq" else gain * PEAK / REFERENCE_WHITE).astype(np.float32)


@cache
def _encode_table() -> np.ndarray:
    """8-bit code of a BT.1886 screen, by the root of light."""
    return np.rint(255 * (np.arange(LEVELS) / (LEVELS - 1)) ** (2 / _SCREEN_GAMMA)).astype(np.uint8)


@cache
def _to_bt709(primaries: int) -> np.ndarray:
    """3 x 3 of linear light; white stays white."""
    turn = np.linalg.inv(_to_xyz(1)) @ _to_xyz(primaries if primaries in _PRIMARIES else 1)
    return (turn / turn.sum(axis=1, keepdims=True)).astype(np.float32)


def _to_xyz(primaries: int) -> np.ndarray:
    *colours, white = (np.array([x / y, 1, (1 - x - y) / y]) for x, y in _PRIMARIES[primaries])
    columns = np.stack(colours, axis=1)
    return columns * np.linalg.solve(columns, white)
