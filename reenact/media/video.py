"""Reading videos: upright frames with their exact presentation times; what is damaged is left out and named.

Only the decoder's own buffers are held, whatever the length of the video.
"""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import av

from reenact.media.container import opened
from reenact.media.decoding import decoded, packets_of
from reenact.media.frames import Frame, Media
from reenact.media.interlaced import deinterlaced
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
    for picture, shown, suspect in deinterlaced(decoded(media.path, damage, threads), time_base):
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
        for packet in packets_of(container, stream, []):
            if packet.pts is not None:
                time = float(packet.pts * packet.time_base)
                start = time if start is None else min(start, time)
                end = max(end, time + float((packet.duration or 0) * packet.time_base))
    return 0.0 if start is None else end - start
