"""Reading videos: upright frames with their exact presentation times; what is damaged is left out and named.

Only the decoder's own buffers are held, whatever the length of the video.
"""

import heapq
import re
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import av.filter
from av.stream import Disposition

from reenact.media.frames import Frame, Media
from reenact.media.planes import Turn, VideoPicture, Workspace, describe, turn_of
from reenact.runtime.errors import UserError

DEINTERLACED = "de-interlaced (bwdif)"
AFTER_DAMAGE = "after damage, before the next key frame"
# Containers of single pictures; gif and apng may hold one or many.
_PICTURE_FORMATS = ("image2", "gif", "apng")
_PICTURE_BRANDS = ("avif", "heic", "heix", "mif1")


def probe_video(path: Path) -> Media:
    """Find out what a file holds; the first frame is decoded to make sure that it can be.

    Returns:
        Media of kind "video"; of kind "photos", if it is a single picture.

    Raises:
        UserError: it is empty, or ffmpeg finds no pictures in it that can be decoded.
    """
    if path.stat().st_size == 0:
        raise UserError(f"{path}: the file is empty (0 bytes); copy or download it again")
    with opened(path) as (container, stream):
        duration = None
        if stream.duration is not None:
            duration = float(stream.duration * stream.time_base)
        elif container.duration is not None:
            # Matroska states when the last picture ends, counted from 0.
            since = max(container.start_time or 0, 0) if "matroska" in container.format.name else 0
            duration = (container.duration - since) / av.time_base
        rate, aspect, time_base = stream.average_rate, stream.sample_aspect_ratio, stream.time_base
        audio = bool(container.streams.audio)
        brand = container.metadata.get("major_brand", "").strip()
        picture = (
            container.format.name in _PICTURE_FORMATS
            or container.format.name.endswith("_pipe")
            or brand in _PICTURE_BRANDS
        )
    media = Media(
        path,
        "video",
        0,
        0,
        float(rate) if rate else None,
        duration,
        audio,
        time_base=time_base,
        aspect=float(aspect or 1),
    )
    damage: list[str] = []
    frames = read_video(media, damage)
    first = next(frames, None)
    if first is None:
        raise UserError(f"{path}: no frame can be decoded ({damage[0] if damage else 'the file has none'})")
    steps = list(first.picture.steps)
    if aspect and aspect != 1:
        steps.append(f"pixels made square (they are {aspect.numerator}:{aspect.denominator})")
    media = replace(media, width=first.width, height=first.height, steps=tuple(steps))
    if picture and next(frames, None) is None:
        return replace(media, kind="photos", fps=None, duration=0.0, files=(path,))
    return media


def read_video(media: Media, damage: list[str], threads: int = 2) -> Iterator[Frame]:
    """Yield the frames in presentation order, each later than the one before.

    Args:
        media: from `probe_video`.
        damage: gets one line for every damaged frame, which is left out, and for a broken end.
        threads: of the decoder; each holds a few frames more in memory.

    Raises:
        UserError: ffmpeg cannot read the file at all.
    """
    time_base = media.time_base
    first: float | None = None
    last: float | None = None
    end = 0.0
    index = 0
    turn, rotation, workspace = Turn(), None, Workspace()
    for picture, shown, suspect in _deinterlaced(_decoded(media.path, damage, threads), time_base):
        # Frames that come out at the very end do not know their time base.
        time = None if picture.pts is None else float(picture.pts * time_base)
        if time is None:  # a few old AVI files: no times, only a rate
            time = 0.0 if last is None else last + 1 / (media.fps or 25.0)
        if last is not None and time <= last:
            damage.append(f"frame after {last:.3f} s: its time {time:.3f} s is not later")
            continue
        if picture.rotation != rotation or index == 0:
            turn, rotation = turn_of(picture), picture.rotation
        width, height = max(1, round(picture.width * media.aspect)), picture.height
        if turn.transposed:
            width, height = height, width
        span = float(picture.duration * time_base) if picture.duration else None
        notes = ((DEINTERLACED,) if shown is not picture else ()) + ((AFTER_DAMAGE,) if suspect else ())
        yield Frame(index, time, span, width, height, VideoPicture(shown, describe(picture), turn, workspace), notes)
        first = time if first is None else first
        last, end, index = time, time + (span or 0.0), index + 1
    # Some containers simply end where they were cut off. Half a second is left to sound that outlasts the pictures.
    if first is not None and media.duration and end - first < 0.98 * media.duration - 0.5:
        damage.append(
            f"the pictures end after {end - first:.2f} s, though the file's header says {media.duration:.2f} s"
        )


def scan_duration(media: Media) -> float:
    """Duration of a video whose header does not state it, s: read off its packets, without decoding."""
    start, end = None, 0.0
    with opened(media.path) as (container, stream):
        for packet in _packets(container, stream, []):
            if packet.pts is not None:
                time = float(packet.pts * packet.time_base)
                start = time if start is None else min(start, time)
                end = max(end, time + float((packet.duration or 0) * packet.time_base))
    return 0.0 if start is None else end - start


# ---- opening ------------------------------------------------------------------------------------------------


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
    # What ffmpeg says starts with "[Errno ..]" and ends with the name of the file.
    return re.sub(r"^\[Errno -?\d+\] ", "", str(error)).split(":")[0]


def _boxes(file: Any) -> set[bytes]:
    """Names of the outermost boxes of an MP4 or MOV file."""
    names: set[bytes] = set()
    place = 0
    while True:
        file.seek(place)
        head = file.read(16)
        if len(head) < 8:
            return names
        size = int.from_bytes(head[:4], "big")
        size = int.from_bytes(head[8:], "big") if size == 1 else size
        names.add(head[4:8])
        if size < 8:
            return names
        place += size


# ---- decoding -----------------------------------------------------------------------------------------------


class _Losses:
    """Tells which frames the decoder lost: those whose packets went in, and that never came out.

    Decoding threads report an error some packets later, so the packet at hand is not the damaged one.
    """

    def __init__(self, time_base: Fraction, damage: list[str]) -> None:
        self._time_base = time_base
        self._damage = damage
        self._waiting: list[int] = []
        self._reason = ""
        self._named: set[int] = set()
        self._begun = self._hidden = False

    def sent(self, packet: Any) -> None:
        """A packet goes into the decoder."""
        if packet.pts is not None and not packet.is_discard:
            heapq.heappush(self._waiting, packet.pts)

    def failed(self, error: Exception) -> None:
        """The decoder reports an error."""
        # What ffmpeg says starts with "[Errno ..]".
        self._reason = re.sub(r"^\[Errno -?\d+\] ", "", str(error)).split(":")[0]
        if self._hidden or not self._waiting:
            self._damage.append(f"a frame ({self._reason})")

    def shown(self, pts: int | None) -> bool:
        """A frame came out (None: there are no more). Returns whether frames were lost just before it."""
        lost = []
        while self._waiting and (pts is None or self._waiting[0] <= pts):
            waiting = heapq.heappop(self._waiting)
            if waiting != pts:
                lost.append(waiting)
        if not self._reason:
            # Nothing is wrong: frames that cannot be shown at the beginning, or a codec with frames that are never
            # shown.
            self._hidden = self._hidden or (self._begun and bool(lost))
            lost = []
        self._begun = True
        if not self._hidden:
            self._damage += [f"frame at {float(waiting * self._time_base):.3f} s ({self._reason})" for waiting in lost]
            self._named.update(lost)
        return bool(lost)

    def named(self, pts: int | None) -> bool:
        """Whether a frame was called lost; some come out late after all, in a broken order."""
        return pts in self._named

    def outstanding(self) -> bool:
        """Whether packets went in of which no frame came out yet."""
        return bool(self._waiting)


def _packets(container: Any, stream: Any, damage: list[str]) -> Iterator[Any]:
    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets, None)
        except av.error.FFmpegError as error:
            damage.append(f"reading stops early ({error})")
            return
        if packet is None or not packet.size:
            return
        yield packet


def _decoded(path: Path, damage: list[str], threads: int) -> Iterator[tuple[Any, bool]]:
    """Frames as the decoder gives them, and whether each may show traces of damage before it."""
    suspect, last, again = False, None, False
    found: list[str] = []
    with opened(path) as (container, stream):
        decoder = _decoder(stream, threads)
        losses = _Losses(stream.time_base, found)
        try:
            for picture in _pictures(_packets(container, stream, found), decoder, losses):
                if losses.named(picture.pts):
                    continue
                suspect |= losses.shown(picture.pts)
                suspect &= not picture.key_frame
                if picture.is_corrupt:
                    when = (
                        f"at {float(picture.pts * stream.time_base):.3f} s"
                        if picture.pts is not None
                        else "without a time"
                    )
                    found.append(f"frame {when} (decoded with errors)")
                    suspect = True
                    continue
                yield picture, suspect
                last = picture.pts
            again = threads > 1 and last is not None and losses.outstanding()
            if not again:
                losses.shown(None)
        finally:
            damage += [] if again else found
    # An error among the last frames that several threads hold takes the others with it; one thread loses none.
    for picture, suspect in _decoded(path, damage, 1) if again else ():
        if picture.pts is not None and picture.pts > last:
            yield picture, suspect


def _decoder(stream: Any, threads: int) -> Any:
    """A decoder for a stream; ffmpeg's own for VP8 and VP9 would leave transparency out."""
    decoder = stream.codec_context
    name = {"vp8": "libvpx", "vp9": "libvpx-vp9"}.get(decoder.name)
    if stream.metadata.get("alpha_mode") == "1" and name in av.codecs_available:
        decoder = av.CodecContext.create(name, "r")
        decoder.extradata = stream.codec_context.extradata
    decoder.thread_type = "AUTO"
    decoder.thread_count = threads
    return decoder


def _pictures(packets: Iterator[Any], decoder: Any, losses: _Losses) -> Iterator[Any]:
    """Frames in presentation order, those included that the decoder still holds at the end."""
    for packet in packets:
        losses.sent(packet)
        try:
            yield from decoder.decode(packet)
        except av.error.FFmpegError as error:
            losses.failed(error)
    while True:
        try:
            pictures = decoder.decode(None)
        except av.error.EOFError:
            return
        except av.error.FFmpegError as error:
            losses.failed(error)
            continue
        if not pictures:
            return
        yield from pictures


# ---- interlaced video ---------------------------------------------------------------------------------------


def _deinterlaced(pictures: Iterator[tuple[Any, bool]], time_base: Fraction) -> Iterator[tuple[Any, Any, bool]]:
    """Each frame as decoded, as it is to be shown, and its mark; one for one, so that times stay as they are.

    From the first interlaced frame on all go through the filter, which looks at neighbours; progressive ones come out
    as they are.
    """
    graph: _Filter | None = None
    for picture, suspect in pictures:
        if graph is not None and not graph.takes(picture):
            yield from graph.finish()
            graph = None
        if graph is None and picture.interlaced_frame:
            graph = _Filter(picture, time_base)
        if graph is None:
            yield picture, picture, suspect
        else:
            yield from graph.put(picture, suspect)
    if graph is not None:
        yield from graph.finish()


class _Filter:
    """ffmpeg's bwdif for frames of one size and format, in the mode that gives one frame for each."""

    def __init__(self, picture: Any, time_base: Fraction) -> None:
        self._kind = (picture.width, picture.height, picture.format.name)
        self._graph = av.filter.Graph()
        source = self._graph.add_buffer(
            width=picture.width, height=picture.height, format=picture.format, time_base=time_base
        )
        bwdif = self._graph.add("bwdif", "mode=send_frame:parity=auto:deint=interlaced")
        self._graph.link_nodes(source, bwdif, self._graph.add("buffersink")).configure()
        self._held: deque[tuple[Any, bool]] = deque()

    def takes(self, picture: Any) -> bool:
        """Whether a frame is of the size and format that the filter was made for."""
        return self._kind == (picture.width, picture.height, picture.format.name)

    def put(self, picture: Any, suspect: bool) -> Iterator[tuple[Any, Any, bool]]:
        """Give one frame in, and get those that are ready."""
        self._held.append((picture, suspect))
        self._graph.push(picture)
        yield from self._ready()

    def finish(self) -> Iterator[tuple[Any, Any, bool]]:
        """Get the frames that are left."""
        self._graph.push(None)
        yield from self._ready()

    def _ready(self) -> Iterator[tuple[Any, Any, bool]]:
        while self._held:
            try:
                shown = self._graph.pull()
            except (av.error.BlockingIOError, av.error.EOFError):
                return
            picture, suspect = self._held.popleft()
            yield picture, shown if picture.interlaced_frame else picture, suspect
