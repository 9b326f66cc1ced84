"""PNG files, fast: one filter, and ISA-L's deflate, for which OpenCV's zlib takes two to three times as long."""

import struct
import zlib

import cv2
import numpy as np
from isal import isal_zlib

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
# Bytes before the pixels (signature, header chunk, length and name of the data chunk) and after them (checksum, end
# chunk).
_HEAD, _TAIL = 41, 16
_HEADER = struct.Struct(">8s4x4sII5B4xI4s")
# Number of channels by colour type.
_CHANNELS = {0: 1, 2: 3}
# The filter "up" stores the difference from the pixel above.
_UP = 2


def encode_png(image: np.ndarray) -> bytes:
    """A uint8 image, H x W (grey) or H x W x 3 (RGB), as PNG."""
    height, width = image.shape[:2]
    rows = np.ascontiguousarray(image).reshape(height, -1)
    filtered = np.empty((height, rows.shape[1] + 1), np.uint8)
    filtered[:, 0] = _UP
    filtered[0, 1:] = rows[0]
    np.subtract(rows[1:], rows[:-1], out=filtered[1:, 1:])
    header = struct.pack(">IIBBBBB", width, height, 8, 2 if image.ndim == 3 else 0, 0, 0, 0)
    data = isal_zlib.compress(filtered, 1)
    return _SIGNATURE + _chunk(b"IHDR", header) + _chunk(b"IDAT", data) + _chunk(b"IEND", b"")


def decode_png(data: bytes) -> np.ndarray | None:
    """The image of a PNG file, uint8: H x W (grey) or H x W x 3 (RGB); None if it is damaged.

    Files of `encode_png` are read by the way they were written, others by OpenCV.
    """
    if (image := _decode_own(data)) is not None:
        return image
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED) if data else None
    return pixels if pixels is None or pixels.ndim == 2 else cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB)


def _chunk(name: bytes, content: bytes) -> bytes:
    return (
        struct.pack(">I", len(content)) + name + content + struct.pack(">I", isal_zlib.crc32(content, zlib.crc32(name)))
    )


def _decode_own(data: bytes) -> np.ndarray | None:
    """The image of a whole file of `encode_png`; None if it is anything else."""
    if len(data) < _HEAD + _TAIL:
        return None
    signature, header, width, height, bits, colour, *_, interlaced, length, name = _HEADER.unpack_from(data)
    channels = _CHANNELS.get(colour)
    known = (signature, header, bits, interlaced, name, length) == (
        _SIGNATURE,
        b"IHDR",
        8,
        0,
        b"IDAT",
        len(data) - _HEAD - _TAIL,
    )
    if not known or channels is None:
        return None
    packed = data[_HEAD:-_TAIL]
    try:
        # Its own checksum is checked besides that of the pixels.
        rows = np.frombuffer(isal_zlib.decompress(packed), np.uint8)
    except isal_zlib.error:  # type: ignore[misc]  # its stubs say it is no exception
        return None
    if (
        rows.size != height * (width * channels + 1)
        or isal_zlib.crc32(packed, zlib.crc32(name)) != struct.unpack_from(">I", data, len(data) - _TAIL)[0]
    ):
        return None
    rows = rows.reshape(height, -1)
    if (rows[:, 0] != _UP).any():
        return None
    rows = rows[:, 1:].copy()
    # Sums from above, of 2, 4, 8, ... rows: a few sweeps over the picture instead of one addition a row.
    step = 1
    while step < height:
        rows[step:] += rows[:-step].copy()
        step *= 2
    return rows.reshape((height, width) if channels == 1 else (height, width, channels))
