"""Reading images: photos, folders of photos, and folders of crops in the published layout."""

import io
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
from PIL import Image, ImageCms, ImageOps

from reenact.media.frames import Frame, Media
from reenact.media.planes import BEHIND_TRANSPARENCY, TRANSPARENCY, resized
from reenact.media.video import probe_video, read_video
from reenact.runtime.errors import UserError

PHOTO_SUFFIXES = (
    ".jpg",
    ".jpeg",
    ".jfif",
    ".png",
    ".bmp",
    ".webp",
    ".tif",
    ".tiff",
    ".avif",
    ".heic",
    ".heif",
    ".jp2",
    ".tga",
    ".ppm",
    ".pgm",
)
CROPPED, MASKS = "images-cropped", "segmentation-cropped"

# What Pillow raises for a damaged picture: OSError mostly, SyntaxError and ValueError from some formats.
_DAMAGED = (OSError, SyntaxError, ValueError, Image.DecompressionBombError)
# Pillow also claims formats of which it reads nothing but the header.
_FORMATS = ("JPEG", "MPO", "PNG", "BMP", "WEBP", "TIFF", "AVIF", "JPEG2000", "TGA", "PPM", "GIF")
# Animations that ffmpeg plays.
_ANIMATED = ("GIF", "PNG", "AVIF")
_ORIENTATION = 0x0112


def identify(path: Path) -> Literal["still", "animated"] | None:
    """Whether a file is an image, by its content; None if it is something else."""
    try:
        with Image.open(path) as image:
            if image.format not in _FORMATS:
                return None
            return "animated" if image.format in _ANIMATED and getattr(image, "n_frames", 1) > 1 else "still"
    except _DAMAGED:
        return None


def probe_photos(path: Path) -> Media:
    """Find out about an image or a folder of images; the first one is read to make sure that it can be.

    Raises:
        UserError: there are none, or none can be read.
    """
    within = _within_cropped(path)
    if within is None:
        media = Media(path, "photos", 0, 0, files=_images(path) if path.is_dir() else (path,))
    else:
        media = _cropped(path, *within)
    damage: list[str] = []
    for file in media.files:
        photo = _read(file, damage)
        if photo is not None:
            return replace(
                media, width=photo.pixels.shape[1], height=photo.pixels.shape[0], steps=(*photo.steps, *media.steps)
            )
    raise UserError(f"{path}: no image can be read ({damage[0]})")


def read_photos(media: Media, damage: list[str]) -> Iterator[Frame]:
    """Yield the images in order, each at time 0, upright.

    Args:
        media: from `probe_photos`.
        damage: gets one line for every image that cannot be read, and is left out.
    """
    for index, file in enumerate(media.files):
        photo = _read(file, damage)
        if photo is None:
            continue
        height, width = photo.pixels.shape[:2]
        mask = media.masks[index] if media.masks else None
        matte = None if mask is None else _Mask(mask, width, height)
        # What is done to all of them stands in the media's steps.
        notes = tuple(step for step in photo.steps if step not in media.steps)
        yield Frame(index, 0.0, 0.0, width, height, photo, notes, matte)


def natural(path: Path) -> list[tuple[int, int, str]]:
    """Sorting key: numbers in names count as numbers, so that 2.jpg comes before 10.jpg."""
    parts = re.split(r"(\d+)", path.as_posix().lower())
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in parts]


# ---- folders ------------------------------------------------------------------------------------------------


def _images(folder: Path, deep: bool = False) -> tuple[Path, ...]:
    found = [
        f
        for f in (folder.rglob("*") if deep else folder.iterdir())
        if f.suffix.lower() in PHOTO_SUFFIXES and not f.name.startswith(".")
    ]
    if not found:
        below = next((f for f in folder.rglob("*") if f.suffix.lower() in PHOTO_SUFFIXES), None)
        hint = f"; there are some in {below.parent}" if below else ""
        raise UserError(f"{folder}: no images in this folder (known: {', '.join(PHOTO_SUFFIXES)}){hint}")
    return tuple(sorted(found, key=natural))


def _within_cropped(path: Path) -> tuple[Path, Path] | None:
    """Of media in the published layout: the folder of the layout, and the path of the media below its images."""
    for candidate in (path.absolute(), path.resolve()):
        parts = candidate.parts
        if CROPPED in parts:
            at = len(parts) - 1 - parts[::-1].index(CROPPED)
            return Path(*parts[:at]), Path(*parts[at + 1 :])
    return None


def _cropped(path: Path, root: Path, identity: Path) -> Media:
    if identity == Path():
        raise UserError(
            f"{path}: holds the crops of several identities; "
            f"name the folder of one of them, such as {path / _example(path)}"
        )
    if path.is_dir():
        files = _images(path, deep=True)
        masks = tuple(root / MASKS / identity / file.relative_to(path).with_suffix(".png") for file in files)
    else:
        files, masks = (path,), (root / MASKS / identity.with_suffix(".png"),)
    found = tuple(mask if mask.is_file() else None for mask in masks)
    given = sum(mask is not None for mask in found)
    return Media(
        path,
        "cropped",
        0,
        0,
        files=files,
        masks=found,
        steps=(f"taken as crops ({CROPPED}); {given} of {len(files)} have masks",),
    )


def _example(folder: Path) -> str:
    return next((f.name for f in sorted(folder.iterdir()) if f.is_dir()), "<identity>")


@dataclass(frozen=True)
class _Mask:
    """Reads the mask of one crop when asked."""

    file: Path
    width: int
    height: int

    def __call__(self) -> np.ndarray:
        try:
            with Image.open(self.file) as image:
                matte = np.array(image.convert("L"))
        except _DAMAGED as error:
            raise UserError(f"{self.file}: the mask cannot be read ({error}); delete it to have one made") from error
        # Masks may hold labels, 0 and 1, in place of brightness.
        matte = matte * np.uint8(255) if matte.max() == 1 else matte
        return resized(matte, self.width, self.height)


# ---- one image ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Photo:
    """An upright picture, uint8 RGB, and what was done to get it."""

    pixels: np.ndarray
    steps: tuple[str, ...]

    @property
    def nbytes(self) -> int:
        """See `Picture`."""
        return self.pixels.nbytes

    def rgb(self, width: int, height: int) -> np.ndarray:
        """See `Picture`."""
        return resized(self.pixels, width, height)

    def luma(self, width: int, height: int) -> np.ndarray:
        """See `Picture`."""
        return resized(cv2.cvtColor(self.pixels, cv2.COLOR_RGB2GRAY), width, height)


def _read(file: Path, damage: list[str]) -> _Photo | None:
    """An image; None (and a line of damage) if it cannot be read."""
    try:
        with Image.open(file) as image:
            return _from_pillow(image)
    except _DAMAGED as error:
        if identify(file) is None and file.stat().st_size:
            photo = _from_ffmpeg(file)
            if photo is not None:
                return photo
        damage.append(f"{file.name}: {str(error).replace(repr(str(file)), 'this file')}")
        return None


def _from_ffmpeg(file: Path) -> _Photo | None:
    """Formats that Pillow does not know, such as TIFF with 16 bits a colour; None if ffmpeg does not know them."""
    try:
        frame = next(read_video(probe_video(file), []), None)
    except UserError:
        return None
    return None if frame is None else _Photo(frame.pixels(), tuple(frame.picture.steps))


def _from_pillow(image: Image.Image) -> _Photo:
    steps = []
    if image.getexif().get(_ORIENTATION, 1) != 1:
        steps.append("turned upright (EXIF orientation)")
    profile = image.info.get("icc_profile")
    image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I") or image.mode == "F":
        image, step = _to_8_bits(image)
        steps.append(step)
    if image.mode in ("CMYK", "L", "LA", "1"):
        steps.append(f"converted from {'black and white' if image.mode == '1' else image.mode} to RGB")
    alpha = None
    if "A" in image.getbands() or "a" in image.getbands() or "transparency" in image.info:
        image = image.convert("RGBA")
        alpha = image.getchannel("A")
        steps.append(TRANSPARENCY)
    if profile:
        image = _to_srgb(image, profile, steps)
    image = image.convert("RGB")
    if alpha is not None:
        behind = Image.new("RGB", image.size, (BEHIND_TRANSPARENCY,) * 3)
        image = Image.composite(image, behind, alpha)
    return _Photo(np.array(image), tuple(steps))


def _to_8_bits(image: Image.Image) -> tuple[Image.Image, str]:
    """Pillow's own conversion of deep grey images clips instead of scaling."""
    values = np.asarray(image)
    if image.mode == "F":
        top = 1.0 if values.max() <= 1 else 255.0 if values.max() <= 255 else 65535.0
        return Image.fromarray(
            np.uint8(np.rint(np.clip(np.nan_to_num(values) / top, 0, 1) * 255))
        ), "reduced from floating point to 8 bits"
    return Image.fromarray(
        np.uint8((np.clip(values, 0, 65535).astype(np.uint32) * 255 + 32767) // 65535)
    ), "reduced from 16 to 8 bits"


def _to_srgb(image: Image.Image, profile: bytes, steps: list[str]) -> Image.Image:
    """Colours as an sRGB screen shows them, by the image's profile (Display P3 of phones, print profiles of CMYK)."""
    mode = "RGB" if image.mode == "RGBA" else image.mode
    if mode not in ("RGB", "CMYK"):
        return image
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        name = ImageCms.getProfileDescription(source).strip()
        if "srgb" in name.lower():
            return image
        screen = ImageCms.createProfile("sRGB")
        result = ImageCms.profileToProfile(
            image.convert(mode),
            source,
            screen,
            ImageCms.Intent.RELATIVE_COLORIMETRIC,
            "RGB",
            flags=ImageCms.Flags.BLACKPOINTCOMPENSATION,
        )
    except (ImageCms.PyCMSError, OSError) as error:
        steps.append(f"its colour profile is not used ({error})")
        return image
    steps.append(f"colours mapped from {name} to sRGB")
    return result or image
