"""Decoding a video's frames in presentation order, and noticing which of them are lost or damaged."""

import heapq
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av

from reenact.media.container import ffmpeg_reason, opened


def decoded(path: Path, damage: list[str], threads: int) -> Iterator[tuple[Any, bool]]:
    """Frames as the decoder gives them, and whether each may show traces of damage before it.

    Args:
        path: of the video.
        damage: gets one line for every frame that is lost or damaged, and left out.
        threads: of the decoder.
    """
    suspect, last, again = False, None, False
    found: list[str] = []
    with opened(path) as (container, stream):
        decoder = _decoder(stream, threads)
        lost = _LostFrames(stream.time_base, found)
        try:
            for picture in _pictures(packets_of(container, stream, found), decoder, lost):
                if lost.was_reported(picture.pts):
                    continue
                suspect |= lost.frame_came_out(picture.pts)
                suspect &= not picture.key_frame
                if picture.is_corrupt:
                    known = picture.pts is not None
                    when = f"at {float(picture.pts * stream.time_base):.3f} s" if known else "without a time"
                    found.append(f"frame {when} (decoded with errors)")
                    suspect = True
                    continue
                yield picture, suspect
                last = picture.pts
            again = threads > 1 and last is not None and lost.any_waiting()
            if not again:
                lost.frame_came_out(None)
        finally:
            damage += [] if again else found
    # An error among the last frames that several threads hold takes the others with it; one thread loses none.
    for picture, suspect in decoded(path, damage, 1) if again else ():
        if picture.pts is not None and picture.pts > last:
            yield picture, suspect


def packets_of(container: Any, stream: Any, damage: list[str]) -> Iterator[Any]:
    """The packets of a stream; a broken end is named in `damage`."""
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


class _LostFrames:
    """Tells which frames the decoder lost: those whose packets went in, and that never came out.

    Decoding threads report an error some packets later, so the packet at hand is not the damaged one.
    """

    def __init__(self, time_base: Fraction, damage: list[str]) -> None:
        self._time_base = time_base
        self._damage = damage
        self._waiting: list[int] = []  # a heap of times
        self._reported: set[int] = set()
        self._reason = ""
        self._begun = False
        # Some codecs have frames that are never shown; then a missing one says nothing.
        self._never_shown = False

    def packet_went_in(self, packet: Any) -> None:
        """A packet goes into the decoder."""
        if packet.pts is not None and not packet.is_discard:
            heapq.heappush(self._waiting, packet.pts)

    def decoder_failed(self, error: Exception) -> None:
        """The decoder reports an error."""
        self._reason = ffmpeg_reason(error)
        if self._never_shown or not self._waiting:
            self._damage.append(f"a frame ({self._reason})")

    def frame_came_out(self, pts: int | None) -> bool:
        """A frame came out (None: there are no more). Returns whether frames were lost just before it."""
        lost = []
        while self._waiting and (pts is None or self._waiting[0] <= pts):
            waiting = heapq.heappop(self._waiting)
            if waiting != pts:
                lost.append(waiting)
        if not self._reason:
            # Nothing is wrong: frames that cannot be shown at the beginning, or that are never shown.
            self._never_shown = self._never_shown or (self._begun and bool(lost))
            lost = []
        self._begun = True
        if not self._never_shown:
            self._damage += [f"frame at {float(waiting * self._time_base):.3f} s ({self._reason})" for waiting in lost]
            self._reported.update(lost)
        return bool(lost)

    def was_reported(self, pts: int | None) -> bool:
        """Whether a frame was called lost; some come out late after all, in a broken order."""
        return pts in self._reported

    def any_waiting(self) -> bool:
        """Whether packets went in of which no frame came out yet."""
        return bool(self._waiting)


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


def _pictures(packets: Iterator[Any], decoder: Any, lost: _LostFrames) -> Iterator[Any]:
    """Frames in presentation order, those included that the decoder still holds at the end."""
    for packet in packets:
        lost.packet_went_in(packet)
        try:
            yield from decoder.decode(packet)
        except av.error.FFmpegError as error:
            lost.decoder_failed(error)
    while True:
        try:
            pictures = decoder.decode(None)
        except av.error.EOFError:
            return
        except av.error.FFmpegError as error:
            lost.decoder_failed(error)
            continue
        if not pictures:
            return
        yield from pictures
