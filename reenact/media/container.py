"""Opening media files with ffmpeg (PyAV); what goes wrong becomes a message for their owner."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import av
from av.stream import Disposition

from reenact.runtime.errors import UserError


def for_ffmpeg(path: Path) -> str:
    """A path as ffmpeg takes it, whole: it would take a relative name such as "12:30.mp4" for an address."""
    return str(path.absolute())


@contextmanager
def opened(path: Path) -> Iterator[tuple[Any, Any]]:
    """The container and its video stream; ffmpeg's errors become messages."""
    try:
        container = av.open(for_ffmpeg(path), metadata_errors="replace")
    except (av.error.FFmpegError, OSError, ValueError) as error:
        raise UserError(f"{path}: neither a video nor an image that ffmpeg can read ({_why(path, error)})") from error
    with container:
        streams = [s for s in container.streams.video if Disposition.attached_pic not in s.disposition]
        if not streams:
            kinds = ", ".join(sorted({"a cover picture" if s.type == "video" else s.type for s in container.streams}))
            raise UserError(f"{path}: has no pictures, only {kinds or 'nothing'}")
        best = container.streams.best("video")
        if all(s.codec_context is None for s in streams):
            raise UserError(f"{path}: ffmpeg has no decoder for its pictures; convert it to H.264, for example")
        yield container, best if best in streams else streams[0]


def _why(path: Path, error: Exception) -> str:
    """What keeps ffmpeg from reading a file, for its owner."""
    with path.open("rb") as file:
        head = file.read(4096)
        if head[4:8] == b"ftyp" and b"moov" not in _boxes(file):
            return (
                "its index is missing, which cameras write last: the recording or download was cut off; "
                "copy it again or have it repaired"
            )
    if head and not re.search(rb"[^\t\n\r\x20-\x7e\x80-\xff]", head):
        return "it is a text file"
    return ffmpeg_reason(error)


def ffmpeg_reason(error: Exception) -> str:
    """What ffmpeg says, without the number before it ("[Errno ..]") and the name of the file after it."""
    return re.sub(r"^\[Errno -?\d+\] ", "", str(error)).split(":")[0]


def _boxes(file: Any) -> set[bytes]:
    """Names of the outermost boxes of an MP4 or MOV file."""
    names: set[bytes] = set()
    offset = 0
    while True:
        file.seek(offset)
        head = file.read(16)
        if len(head) < 8:
            return names
        size = int.from_bytes(head[:4], "big")
        size = int.from_bytes(head[8:], "big") if size == 1 else size
        names.add(head[4:8])
        if size < 8:
            return names
        offset += size
