"""Files that a browser sends: what they are is told by their content, and their names never become paths."""

import os
import secrets
import shutil
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from starlette.concurrency import run_in_threadpool

from reenact.runtime.errors import UserError
from reenact.runtime.files import atomic_folder, atomic_write

UPLOADS = Path(".reenact/uploads")
"""Where files wait under a project until somebody says what they are for."""
MAX_PHOTO_PIXELS = 100_000_000
MAX_FRAME_PIXELS = 36_000_000
"""Of a video's frame: 8K."""
KEPT = 24 * 3600.0
"""How long a file waits, s."""
PHOTOS = (".jpg", ".png", ".webp", ".gif", ".bmp", ".tif", ".avif", ".heic")
KNOWN = "a photo (JPEG, PNG, WebP, HEIC, AVIF, TIFF ...) or a video (MP4, MOV, WebM, MKV, AVI ...)"
_HEAD = 512
_BEGINNINGS = {
    b"\xff\xd8\xff": ".jpg",
    b"\x89PNG\r\n\x1a\n": ".png",
    b"GIF8": ".gif",
    b"BM": ".bmp",
    b"II*\0": ".tif",
    b"MM\0*": ".tif",
    b"FLV\x01": ".flv",
    b"OggS": ".ogv",
    b"\x30\x26\xb2\x75\x8e\x66\xcf\x11": ".wmv",
    b"\0\0\x01\xba": ".mpg",
}
_BRANDS = {b"avif": ".avif", b"avis": ".avif", b"heic": ".heic", b"heix": ".heic", b"mif1": ".heic", b"qt  ": ".mov"}


class WrongType(UserError):
    """A file is nothing that can be used here."""


class TooManyPixels(UserError):
    """A picture is larger than is taken."""


@dataclass(frozen=True)
class Upload:
    """A file that waits.

    Attributes:
        id: 16 hex digits.
        kind: photo or video.
        width, height: px.
        duration: s; 0 of photos, None where the file does not say.
    """

    id: str
    kind: str
    width: int
    height: int
    duration: float | None


class Uploads:
    """The files that wait under a project's folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder / UPLOADS

    async def take(self, chunks: AsyncIterator[bytes]) -> Upload:
        """Keep what comes, if it is a photo or a video that can be read.

        Raises:
            WrongType, TooManyPixels: it is refused, and nothing is left of it.
            UserError: it is damaged, or the disk is full.
        """
        head, rest = await beginning(chunks)
        suffix = suffix_of(head)
        if suffix is None or suffix == ".safetensors":
            raise WrongType(f"This is no picture or video that is known by its content; give {KNOWN}.")
        self.tidy()
        number = secrets.token_hex(8)
        target = self._folder / f"{number}{suffix}"
        with atomic_write(target) as temporary:
            with temporary.open("wb") as file:
                file.write(head)
                async for chunk in rest:
                    file.write(chunk)
            return await run_in_threadpool(examine, temporary, number)

    def path(self, number: str) -> Path:
        """The file of an id.

        Raises:
            UserError: there is none.
        """
        found = sorted(self._folder.glob(f"{number}.*")) if number.isalnum() else []
        if not found:
            raise UserError(f"upload {number!r}: is not here any more; send the file again")
        return found[0]

    @contextmanager
    def claim(self, numbers: Sequence[str], target: Path) -> Iterator[Path]:
        """Put files where a project keeps its media; they wait again if what follows fails.

        Args:
            numbers: ids, in the order of the photos.
            target: path without suffix, which does not exist.

        Returns:
            Yields the video, the photo, or the folder of photos.

        Raises:
            UserError: photos and a video together, several videos, none, or the target exists.
        """
        from reenact.media.probe import probe

        files = [self.path(number) for number in dict.fromkeys(numbers)]
        videos = [file for file in files if probe(file).kind == "video"]
        if not files or (videos and len(files) > 1):
            raise UserError(f"media: {len(files)} files, {len(videos)} of them videos; give photos, or one video")
        for taken in [target, *target.parent.glob(f"{target.name}.*")]:
            if taken.exists():
                raise UserError(f"{taken.name}: media of this name are in the project already; choose another name")
        kept = target.with_name(target.name + files[0].suffix) if len(files) == 1 else target
        if kept != target:
            kept.parent.mkdir(parents=True, exist_ok=True)
            files[0].rename(kept)
        else:
            with atomic_folder(target) as folder:
                for count, file in enumerate(files, 1):
                    os.link(file, folder / f"{count:03d}{file.suffix}")
        try:
            yield kept
        except BaseException:
            if kept.is_dir():
                shutil.rmtree(kept)
            else:
                kept.rename(files[0])
            raise
        for file in files:
            file.unlink(missing_ok=True)

    def tidy(self) -> None:
        """Drop what nobody asked for."""
        for file in self._folder.glob("*") if self._folder.is_dir() else ():
            with suppress(OSError):
                if file.stat().st_mtime < time.time() - KEPT:
                    file.unlink()


async def beginning(chunks: AsyncIterator[bytes]) -> tuple[bytes, AsyncIterator[bytes]]:
    """The first bytes of what comes, enough to tell what it is, and the rest."""
    head = b""
    async for chunk in chunks:
        head += chunk
        if len(head) >= _HEAD:
            break
    return head, chunks


def suffix_of(head: bytes) -> str | None:
    """The suffix that a file's first bytes call for; None if they are of nothing that is known.

    Playlists and other texts are not known: ffmpeg would follow what they name.
    """
    for start, suffix in _BEGINNINGS.items():
        if head.startswith(start):
            return suffix
    if head[:4] == b"RIFF":
        return {b"WEBP": ".webp", b"AVI ": ".avi"}.get(head[8:12])
    if head[4:8] == b"ftyp":
        return _BRANDS.get(head[8:12], ".mp4")
    if head[4:8] in (b"moov", b"mdat", b"wide", b"free"):
        return ".mov"
    if head.startswith(b"\x1a\x45\xdf\xa3"):
        return ".webm" if b"webm" in head[:64] else ".mkv"
    if head[:1] == b"G" and head[188:189] == b"G" and head[376:377] == b"G":
        return ".ts"
    if len(head) > 9 and int.from_bytes(head[:8], "little") < 100_000_000 and head[8:9] == b"{":
        return ".safetensors"
    return None


def examine(path: Path, number: str) -> Upload:
    """What a file holds; the first frame is decoded once it is known not to be too large.

    Raises:
        TooManyPixels: it is.
        UserError: it cannot be read.
    """
    from reenact.media.probe import probe

    check_pixels(path)
    try:
        media = probe(path)
    except UserError as error:
        raise UserError(str(error).replace(str(path), "this file")) from None
    kind = "video" if media.kind == "video" else "photo"
    return Upload(number, kind, media.width, media.height, media.duration if kind == "video" else 0.0)


def check_pixels(path: Path) -> None:
    """Look at the size that a picture or video states, without decoding it.

    Raises:
        TooManyPixels: it is larger than is taken.
        UserError: it is no picture or video.
    """
    from PIL import Image

    from reenact.media.container import opened

    most, size = MAX_PHOTO_PIXELS, (0, 0)
    try:
        with Image.open(path) as image:
            size = image.size
    except Image.DecompressionBombError:
        raise TooManyPixels(f"The picture has more than {most // 1_000_000} million pixels; make it smaller.") from None
    except (OSError, SyntaxError, ValueError):
        try:
            with opened(path) as (_, stream):
                most, size = MAX_FRAME_PIXELS, (stream.codec_context.width, stream.codec_context.height)
        except UserError as error:
            raise UserError(str(error).replace(str(path), "this file")) from None
    if size[0] * size[1] > most:
        raise TooManyPixels(
            f"The picture has {size[0]} x {size[1]} px; at most {most // 1_000_000} million pixels are taken."
        )
