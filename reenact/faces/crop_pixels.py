"""The pixels of a square: cut out of a frame, enlarged or reduced, and padded where the square leaves the frame."""

import math

import cv2
import numpy as np

from reenact.faces.square import Square

# How far padding reaches before it has faded to one colour, and how wide its blur is (fractions of the side).
_FADE = 0.3
_PUBLISHED_BLUR = 0.016


def crop_square(image: np.ndarray, square: Square, size: int, reduced: bool = False) -> np.ndarray:
    """Cut a square out of a picture and resize it; exact to fractions of a pixel, so that smooth squares look smooth.

    Enlarging is bicubic, reducing averages areas. Where the square leaves the picture it is padded by reflection that
    fades into its blur and then into the mean colour, starting at the very border: no real pixel is changed.

    Args:
        image: uint8, H x W x 3.
        square: of this picture.
        size: side of the result, px.
        reduced: whether the picture was reduced by areas before.

    Returns:
        uint8, size x size x 3.
    """
    shrink = square.side / size - 1e-6
    finer = max(1, math.ceil(shrink - 0.5 if reduced else shrink))
    fine = size * finer
    step = square.side / fine
    # To reduce, the square is first sampled at least as finely as the frame itself, where linear interpolation will
    # do, at a third of the cost of cubic. A frame that was reduced before, and is at most half as large again as the
    # result, needs no second averaging: without it, in half of the time, the crop is a decibel nearer to the truth.
    # warpAffine has pixel centres at whole numbers.
    corner = square.to_frame(np.array([step / 2, step / 2]), square.side) - 0.5
    part, left, top = _padded(image, square)
    back = np.column_stack([step * square.rotation, corner - [left, top]])
    kernel = cv2.INTER_CUBIC if shrink <= 1 else cv2.INTER_LINEAR
    result = cv2.warpAffine(
        part, back, (fine, fine), flags=kernel | cv2.WARP_INVERSE_MAP, borderMode=cv2.BORDER_REFLECT_101
    )
    if finer > 1:
        result = cv2.resize(result, (size, size), interpolation=cv2.INTER_AREA)
    depths = outside_depths(square, size, image.shape[1], image.shape[0])
    if depths is None:
        return result
    return _fade_outside(result, *(depth * np.float32(1 / (_FADE * square.side)) for depth in depths))


def _padded(image: np.ndarray, square: Square) -> tuple[np.ndarray, int, int]:
    """What a square shows of a picture padded by reflection, and where its corner lies in the picture (left, top).

    Padded beforehand, because warpAffine takes three times as long where it has to reflect pixel by pixel itself.
    """
    corners = square.corners()
    # Cubic interpolation reaches two pixels further.
    first, last = np.floor(corners.min(axis=0)).astype(int) - 3, np.ceil(corners.max(axis=0)).astype(int) + 3
    pads, parts = [], []
    for low, high, length in ((first[1], last[1], image.shape[0]), (first[0], last[0], image.shape[1])):
        before, after = max(0, -int(low)), max(0, int(high) - length)
        pads += [before, after]
        # What is mirrored must be there, besides what is shown.
        start = max(0, min(int(low), length - after - 1)) if before == 0 else 0
        stop = min(length, max(int(high), before + 1)) if after == 0 else length
        parts.append(slice(start, stop))
    part = image[parts[0], parts[1]]
    if any(pads):
        top, bottom, left, right = pads
        part = cv2.copyMakeBorder(part, top, bottom, left, right, cv2.BORDER_REFLECT_101)
    return part, parts[1].start - pads[2], parts[0].start - pads[0]


def outside_depths(square: Square, size: int, width: int, height: int) -> tuple[np.ndarray, np.ndarray] | None:
    """How far each pixel of a crop lies beside its frame, and above or below it, px of the frame.

    Args:
        square: of the crop.
        size: side of the crop, px.
        width, height: of the frame, px.

    Returns:
        Two float32 arrays that broadcast to size x size, 0 inside the frame; of a square that is not turned, the first
        is one row and the second one column. None if all of the crop lies inside.
    """
    corners = square.corners()
    if (corners >= 0).all() and (corners <= (width, height)).all():
        return None
    steps = ((np.arange(size) + 0.5) * (square.side / size)).astype(np.float32)
    if not square.angle:
        across, down = (
            np.maximum(np.maximum(-(steps + start), steps + (start - end)), 0).astype(np.float32)
            for start, end in ((square.left, width), (square.top, height))
        )
        return across[None, :], down[:, None]
    steps = ((np.arange(size) + 0.5) * (square.side / size) - square.side / 2).astype(np.float32)
    (a, b), (c, d) = square.rotation.astype(np.float32)
    across = a * steps[None, :] + b * steps[:, None] + np.float32(square.centre_x)
    down = c * steps[None, :] + d * steps[:, None] + np.float32(square.centre_y)
    return np.maximum(np.maximum(-across, across - width), 0), np.maximum(np.maximum(-down, down - height), 0)


def _fade_outside(crop: np.ndarray, across: np.ndarray, down: np.ndarray) -> np.ndarray:
    """Fade what lies outside of the frame (filled by reflection) into its blur and then into a mean colour.

    Args:
        crop: uint8, S x S x 3.
        across, down: how far outside each pixel lies, as `outside_depths` gives it; 1 where only the colour is left.
    """
    size = crop.shape[0]
    # What remains of the crop falls with the depth, so it is that of the direction in which a pixel lies further
    # outside.
    remains = np.minimum(*(np.maximum(1 - 3 * depth, 0) * np.maximum(1 - depth, 0) for depth in (across, down)))
    inside = cv2.compare(remains, 1, cv2.CMP_EQ)
    colour = cv2.mean(crop, inside if inside.any() else None)[:3]
    # The blur is wide, so it may be made from a small copy, and mixed there with the colour.
    small = cv2.resize(crop, (max(1, size // 4), max(1, size // 4)), interpolation=cv2.INTER_AREA)
    blurred = cv2.GaussianBlur(small, (0, 0), 0.02 * size / 4 + 0.5)
    depth = np.minimum(np.maximum(*(_quartered(part) for part in (across, down))), 1)
    # Of all that is not the crop, 1 - (1 - 3 d) (1 - d) where d < 1/3, the colour has d: a quarter at the border.
    weight = cv2.max(depth / (1 - cv2.max(1 - 3 * depth, 0) * (1 - depth) + np.float32(1e-6)), 0.25)
    plain = np.empty_like(blurred)
    plain[:] = np.rint(colour)
    behind = cv2.resize(
        cv2.blendLinear(blurred, plain, 1 - weight, weight), (size, size), interpolation=cv2.INTER_LINEAR
    )
    return cv2.blendLinear(crop, behind, remains, 1 - remains)


def _quartered(values: np.ndarray) -> np.ndarray:
    """Means of 4 x 4 values, or of 4 in a row or a column."""
    height, width = (max(1, length // 4) for length in values.shape)
    return cv2.resize(values, (width, height), interpolation=cv2.INTER_AREA)


def crop_published(image: np.ndarray, square: Square, size: int, face_height: float) -> np.ndarray:
    """Cut out a square of whole pixels as the published code does, pixel by pixel.

    What lies outside of the picture is filled by reflection. Across the padding of each border, of width p, weights
    rise from 0 at the picture's border to 1 at the square's: there, the colour is the median; the blur (sigma 1.6 % of
    the side) begins p / 3 inside the picture and is complete at its border. Then the square is resized: bicubic if the
    face box is lower than the result, else by areas (so squares that are reduced by less than `crop.scale` are reduced
    bicubically).

    Args:
        image: uint8, H x W x 3.
        square: from `Square.whole_pixels`.
        size: side of the result, px.
        face_height: of the face box, px.

    Returns:
        uint8, size x size x 3.
    """
    height, width = image.shape[:2]
    left, top, side = (round(number) for number in (square.left, square.top, square.side))
    pads = max(0, -top), max(0, top + side - height), max(0, -left), max(0, left + side - width)
    part = image[max(0, top) : max(0, top + side), max(0, left) : max(0, left + side)]
    if any(pads):
        part = _pad_published(cv2.copyMakeBorder(part, *pads, cv2.BORDER_REFLECT_101), *pads)
    return cv2.resize(part, (size, size), interpolation=cv2.INTER_CUBIC if size > face_height else cv2.INTER_AREA)


def _pad_published(square: np.ndarray, top: int, bottom: int, left: int, right: int) -> np.ndarray:
    """Blur and fade a square whose borders of these widths (px) are filled by reflection."""
    side = len(square)
    across = _border_depth(side, left, right)
    down = _border_depth(side, top, bottom)
    depth = np.maximum(across[None, :], down[:, None])[..., None]
    blurred = cv2.GaussianBlur(square, (0, 0), _PUBLISHED_BLUR * side).astype(np.float32) / 255
    pixels = square.astype(np.float32) / 255
    pixels += (blurred - pixels) * np.clip(3 * depth + 1, 0, 1)
    pixels += (np.median(pixels, axis=(0, 1)) - pixels) * np.clip(depth, 0, 1)
    return np.rint(pixels * 255).clip(0, 255).astype(np.uint8)


def _border_depth(side: int, before: int, after: int) -> np.ndarray:
    """Along one axis: 1 at the outer border of the padding, 0 at its inner one, negative inside; `side` float32.

    Args:
        side: px.
        before, after: width of the padding at both ends, px; where both have some, the deeper one counts.
    """
    pixels = np.arange(side, dtype=np.float32)
    ends = [1 - away / pad for away, pad in ((pixels, before), (pixels[-1] - pixels, after)) if pad]
    return np.max(ends, axis=0) if ends else np.full_like(pixels, -np.inf)


def centre_crop(image: np.ndarray, size: int) -> np.ndarray:
    """The middle square of a picture at `size` px; a square picture of that size is returned as it is.

    Args:
        image: uint8, H x W x 3 or H x W.
        size: side of the result, px; bicubic up, by areas down.
    """
    side = min(image.shape[:2])
    top, left = (image.shape[0] - side) // 2, (image.shape[1] - side) // 2
    square = image[top : top + side, left : left + side]
    if side == size:
        return square
    return cv2.resize(square, (size, size), interpolation=cv2.INTER_CUBIC if side < size else cv2.INTER_AREA)
