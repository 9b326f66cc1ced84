"""Squares around faces: where they lie, and how their pixels are cut out of a frame and put back.

A square is given by x, y (its top left corner before it is turned, px of the frame), side (px) and angle (degrees by which
it is turned about its middle, clockwise as seen). Coordinates are continuous: pixel i covers [i, i + 1).
"""

import math

import cv2
import numpy as np

# How far padding reaches before it has faded to one colour, and how wide its blur is (shares of the side).
_FADE = 0.3
_PUBLISHED_BLUR = 0.016


# ---- where ------------------------------------------------------------------------------------------------


def box_square(box: np.ndarray, scale: float) -> np.ndarray:
    """Middle (x, y), side and angle (0) of the square around a face box (left, top, right, bottom): its longer side x `scale`."""
    return np.array([(box[0] + box[2]) / 2, (box[1] + box[3]) / 2, scale * max(box[2] - box[0], box[3] - box[1]), 0.0])


def ffhq_square(landmarks: np.ndarray, scale: float) -> np.ndarray:
    """Middle (x, y), side and angle of FFHQ's square (Karras et al., CVPR 2019), turned upright by eyes and mouth.

    Its half side is the larger of 2 x the distance of the eyes and 1.8 x that from eyes to mouth; its middle lies a
    tenth of the way from the eyes to the mouth. The published code of this method keeps such squares unturned.

    Args:
        landmarks: 68 x 2, px.
        scale: `crop.scale`; 1.8 leaves FFHQ's size.
    """
    left, right = landmarks[36:42].mean(axis=0), landmarks[42:48].mean(axis=0)
    eyes = (left + right) / 2
    across, down = right - left, (landmarks[48] + landmarks[54]) / 2 - eyes
    # The line of the eyes, and the one across the line from eyes to mouth, share in the direction.
    direction = across + np.array([down[1], -down[0]])
    half = max(2.0 * np.linalg.norm(across), 1.8 * np.linalg.norm(down))
    middle = eyes + 0.1 * down
    return np.array([*middle, 2 * half * scale / 1.8, math.degrees(math.atan2(direction[1], direction[0]))])


def whole_square(middle_x: float, middle_y: float, side: float) -> tuple[int, int, int]:
    """Left, top and side of the published code's square of whole pixels around a square of fractions.

    It goes out to whole pixels on the left, top and right, and its right column is counted in.
    """
    left, top = math.floor(middle_x - side / 2), math.floor(middle_y - side / 2)
    return left, top, math.ceil(middle_x + side / 2) + 1 - left


def to_frame(points: np.ndarray, x: float, y: float, side: float, size: int, angle: float = 0.0) -> np.ndarray:
    """Points of a crop (..., 2; px) as points of the frame that it was cut from."""
    if not angle:
        return np.asarray(points) * (side / size) + np.array([x, y])
    inner = np.asarray(points) * (side / size) - side / 2
    return inner @ _turn(angle).T + np.array([x, y]) + side / 2


def to_crop(points: np.ndarray, x: float, y: float, side: float, size: int, angle: float = 0.0) -> np.ndarray:
    """Points of a frame (..., 2; px) as points of the crop with this square; inverse of `to_frame`."""
    if not angle:
        return (np.asarray(points) - np.array([x, y])) * (size / side)
    inner = np.asarray(points) - np.array([x, y]) - side / 2
    return (inner @ _turn(angle) + side / 2) * (size / side)


def _turn(angle: float) -> np.ndarray:
    cosine, sine = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    return np.array([[cosine, -sine], [sine, cosine]])


# ---- pixels -----------------------------------------------------------------------------------------------


def crop_square(
    image: np.ndarray, x: float, y: float, side: float, size: int, angle: float = 0.0, reduced: bool = False
) -> np.ndarray:
    """Cut a square out of a picture and resize it; exact to fractions of a pixel, so that smooth squares look smooth.

    Enlarging is bicubic, reducing averages areas. Where the square leaves the picture it is padded by reflection that
    fades into its blur and then into the mean colour, starting at the very border: no real pixel is changed.

    Args:
        image: uint8, H x W x 3.
        x, y, side, angle: the square.
        size: side of the result, px.
        reduced: whether the picture was reduced by areas before.

    Returns:
        uint8, size x size x 3.
    """
    shrink = side / size - 1e-6
    finer = max(1, math.ceil(shrink - 0.5 if reduced else shrink))
    fine = size * finer
    step = side / fine
    # warpAffine has pixel centres at whole numbers. To reduce, the square is first sampled at least as finely as the
    # frame itself, where straight lines between pixels will do, at a third of the cost of cubic ones. What is reduced already,
    # and is at most half as large again as the result, needs no second averaging: without it, in half of the time, it is a
    # decibel nearer to the mean of sixteen times as many samples.
    corner = to_frame(np.array([step / 2, step / 2]), x, y, side, side, angle) - 0.5
    part, left, top = _padded(image, x, y, side, angle)
    back = np.column_stack([step * _turn(angle), corner - [left, top]])
    kernel = cv2.INTER_CUBIC if shrink <= 1 else cv2.INTER_LINEAR
    result = cv2.warpAffine(
        part, back, (fine, fine), flags=kernel | cv2.WARP_INVERSE_MAP, borderMode=cv2.BORDER_REFLECT_101
    )
    if finer > 1:
        result = cv2.resize(result, (size, size), interpolation=cv2.INTER_AREA)
    depths = outside_depths(x, y, side, size, image.shape[1], image.shape[0], angle)
    return (
        result
        if depths is None
        else _fade_outside(result, *(depth * np.float32(1 / (_FADE * side)) for depth in depths))
    )


def _padded(image: np.ndarray, x: float, y: float, side: float, angle: float) -> tuple[np.ndarray, int, int]:
    """What a square shows of a picture padded by reflection, and where its corner lies in the picture (left, top).

    Padded beforehand, because warpAffine takes three times as long where it has to reflect pixel by pixel itself.
    """
    corners = to_frame(np.array([(0, 0), (1, 0), (0, 1), (1, 1)]), x, y, side, 1, angle)
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
        part = cv2.copyMakeBorder(part, *pads, cv2.BORDER_REFLECT_101)
    return part, parts[1].start - pads[2], parts[0].start - pads[0]


def outside_depths(
    x: float, y: float, side: float, size: int, width: int, height: int, angle: float = 0.0
) -> tuple[np.ndarray, np.ndarray] | None:
    """How far each pixel of a crop lies beside its frame, and above or below it, px of the frame.

    Args:
        x, y, side, angle: the square.
        size: of the crop, px.
        width, height: of the frame, px.

    Returns:
        Two float32 arrays that broadcast to size x size, 0 inside; of a square that is not turned, the first is one row and the
        second one column. None if all of the crop lies inside.
    """
    corners = to_frame(np.array([(0, 0), (1, 0), (0, 1), (1, 1)]), x, y, side, 1, angle)
    if (corners >= 0).all() and (corners <= (width, height)).all():
        return None
    if not angle:
        steps = np.float32((np.arange(size) + 0.5) * (side / size))
        across, down = (
            np.float32(np.maximum(np.maximum(-(steps + start), steps + (start - end)), 0))
            for start, end in ((x, width), (y, height))
        )
        return across[None, :], down[:, None]
    steps = np.float32((np.arange(size) + 0.5) * (side / size) - side / 2)
    (a, b), (c, d) = _turn(angle).astype(np.float32)
    across = a * steps[None, :] + b * steps[:, None] + np.float32(x + side / 2)
    down = c * steps[None, :] + d * steps[:, None] + np.float32(y + side / 2)
    return np.maximum(np.maximum(-across, across - width), 0), np.maximum(np.maximum(-down, down - height), 0)


def _fade_outside(crop: np.ndarray, across: np.ndarray, down: np.ndarray) -> np.ndarray:
    """Fade what lies outside of the frame (filled by reflection) into its blur and then into a mean colour.

    Args:
        crop: uint8, S x S x 3.
        across, down: how far outside each pixel lies, as `outside_depths` gives it; 1 where only the colour is left.
    """
    size = crop.shape[0]
    # What remains of the crop falls with the depth, so it is that of the direction in which a pixel lies further outside.
    remains = np.minimum(*(np.maximum(1 - 3 * depth, 0) * np.maximum(1 - depth, 0) for depth in (across, down)))
    inside = cv2.compare(remains, 1, cv2.CMP_EQ)
    colour = cv2.mean(crop, inside if inside.any() else None)[:3]
    # The blur is wide, so it may be made from a small copy, and mixed there with the colour.
    small = cv2.resize(crop, (max(1, size // 4), max(1, size // 4)), interpolation=cv2.INTER_AREA)
    blurred = cv2.GaussianBlur(small, (0, 0), 0.02 * size / 4 + 0.5)
    share = np.minimum(np.maximum(*(_quartered(depth) for depth in (across, down))), 1)
    # Of all that is not the crop, 1 - (1 - 3 d) (1 - d) where d < 1/3, the colour has d: a quarter at the border.
    share = share / (1 - cv2.max(1 - 3 * share, 0) * (1 - share) + np.float32(1e-6))
    share = cv2.max(share, 0.25)
    plain = np.empty_like(blurred)
    plain[:] = np.rint(colour)
    behind = cv2.resize(cv2.blendLinear(blurred, plain, 1 - share, share), (size, size), interpolation=cv2.INTER_LINEAR)
    return cv2.blendLinear(crop, behind, remains, 1 - remains)


def _quartered(values: np.ndarray) -> np.ndarray:
    """Means of 4 x 4 values, or of 4 in a row or a column."""
    height, width = (max(1, length // 4) for length in values.shape)
    return cv2.resize(values, (width, height), interpolation=cv2.INTER_AREA)


def crop_published(image: np.ndarray, left: int, top: int, side: int, size: int, face_height: float) -> np.ndarray:
    """Cut out a square of whole pixels as the published code does, pixel by pixel.

    What lies outside of the picture is filled by reflection. Across the padding of each border, of width p, weights
    rise from 0 at the picture's border to 1 at the square's: there, the colour is the median; the blur (sigma 1.6 % of
    the side) begins p / 3 inside the picture and is complete at its border. Then the square is resized: bicubic if the
    face box is lower than the result, else by areas (so squares that are reduced by less than `scale` are
    reduced bicubically).

    Args:
        image: uint8, H x W x 3.
        left, top, side: the square, px.
        size: side of the result, px.
        face_height: of the face box, px.

    Returns:
        uint8, size x size x 3.
    """
    height, width = image.shape[:2]
    pads = max(0, -top), max(0, top + side - height), max(0, -left), max(0, left + side - width)
    part = image[max(0, top) : max(0, top + side), max(0, left) : max(0, left + side)]
    if any(pads):
        part = _pad_published(cv2.copyMakeBorder(part, *pads, cv2.BORDER_REFLECT_101), *pads)
    return cv2.resize(part, (size, size), interpolation=cv2.INTER_CUBIC if size > face_height else cv2.INTER_AREA)


def _pad_published(square: np.ndarray, top: int, bottom: int, left: int, right: int) -> np.ndarray:
    """Blur and fade a square whose borders of these widths (px) are filled by reflection."""
    side = len(square)
    places = np.arange(side, dtype=np.float32)
    depth = np.maximum(_border_depth(places, left, right)[None, :], _border_depth(places, top, bottom)[:, None])[
        ..., None
    ]
    blurred = cv2.GaussianBlur(square, (0, 0), _PUBLISHED_BLUR * side).astype(np.float32) / 255
    pixels = square.astype(np.float32) / 255
    pixels += (blurred - pixels) * np.clip(3 * depth + 1, 0, 1)
    pixels += (np.median(pixels, axis=(0, 1)) - pixels) * np.clip(depth, 0, 1)
    return np.rint(pixels * 255).clip(0, 255).astype(np.uint8)


def _border_depth(places: np.ndarray, before: int, after: int) -> np.ndarray:
    """1 at the outer border of the padding, 0 at its inner one, negative inside; the larger of both ends."""
    last = places[-1]
    ends = [1 - away / pad for away, pad in ((places, before), (last - places, after)) if pad]
    return np.max(ends, axis=0) if ends else np.full_like(places, -np.inf)


def middle_square(image: np.ndarray, size: int) -> np.ndarray:
    """A picture that is a crop already at size x size px: itself where it has that size; of an oblong one the middle.

    Args:
        image: uint8, H x W x 3 or H x W.
        size: side of the result, px; bicubic up, by areas down.
    """
    side = min(image.shape[:2])
    top, left = (image.shape[0] - side) // 2, (image.shape[1] - side) // 2
    square = image[top : top + side, left : left + side]
    return (
        square
        if side == size
        else cv2.resize(square, (size, size), interpolation=cv2.INTER_CUBIC if side < size else cv2.INTER_AREA)
    )
