"""Reading videos and photos: upright RGB frames with their exact presentation times, one at a time.

Memory does not grow with the length of the media: a frame is converted to pixels only when asked for,
at the size asked for, and nothing is kept.
"""

from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from reenact.media.frames import Frame, Media
from reenact.media.photos import PHOTO_SUFFIXES, identify, probe_photos, read_photos
from reenact.media.video import probe_video, read_video
from reenact.runtime.errors import UserError

# Bytes of decoded frames that are kept between two passes: 13 s of 512 x 512 px, 1.6 s of 1080p.
MAX_KEPT = 128_000_000


def probe(path: Path) -> Media:
    """Find out what `path` is; the first frame is read to make sure that it can be.

    Raises:
        UserError: it is missing, empty, neither video nor image, or a folder without images.
    """
    path = Path(path)
    if not path.exists():
        raise UserError(f"{path}: no such file or folder")
    if path.is_dir():
        return probe_photos(path)
    if path.stat().st_size == 0:
        raise UserError(f"{path}: the file is empty (0 bytes); copy or download it again")
    kind = identify(path)
    if kind == "still" or (kind is None and path.suffix.lower() in PHOTO_SUFFIXES and not _plays(path)):
        return probe_photos(path)
    return probe_video(path)


def read_frames(media: Media, damage: list[str] | None = None, threads: int = 2) -> Iterator[Frame]:
    """Yield the frames in presentation order, upright, each later than the one before (photos and crops: all at 0).

    Args:
        media: from `probe`.
        damage: gets one line for every damaged frame or photo, which is left out, and for a broken end.
        threads: of a video's decoder; it works ahead while frames are looked at.

    Raises:
        UserError: not one frame can be used.
    """
    damage = [] if damage is None else damage
    frames = read_video(media, damage, threads) if media.kind == "video" else read_photos(media, damage)
    count = 0
    for frame in frames:
        count += 1
        yield frame
    if not count:
        raise UserError(f"{media.path}: no frame can be decoded ({damage[0] if damage else 'the file has none'})")


def listed_frames(media: Media, table: pd.DataFrame, origin: list[float] | None = None) -> Iterator[tuple[int, Frame]]:
    """The frames that the table lists, each with its row; reading ends with the last of them.

    Args:
        media: what the table was made of.
        table: frame table.
        origin: gets the time of the first frame of the file, s.

    Raises:
        UserError: the media lack some of them.
    """
    rows = {int(index): row for row, index in enumerate(table["index"])}
    found = 0
    for frame in read_frames(media):
        if origin is not None and not origin:
            origin.append(frame.time)
        if frame.index in rows:
            found += 1
            yield rows[frame.index], frame
            if found == len(rows):
                return
    raise UserError(
        f"{media.path}: {len(rows) - found} frames of its table are not in it; it has changed, run decode again"
    )


class Passes:
    """Reads the frames of media that a table lists, more than once; of short media the used ones are decoded only once.

    What the first pass decodes is kept, unless it grows beyond `max_bytes`: then every pass decodes anew.
    """

    def __init__(self, media: Media, max_bytes: int = MAX_KEPT) -> None:
        self.media = media
        self._max_bytes = max_bytes
        self._kept: dict[int, Frame] = {}

    def listed(self, table: pd.DataFrame, origin: list[float] | None = None) -> Iterator[tuple[int, Frame]]:
        """See `listed_frames`; `origin` is filled by the first pass only."""
        if self._kept:
            yield from ((row, self._kept[int(index)]) for row, index in enumerate(table["index"]))
            return
        used = (table["role"] != "unused").tolist()
        kept: dict[int, Frame] = {}
        size = 0
        for row, frame in listed_frames(self.media, table, origin):
            if used[row] and size <= self._max_bytes:
                kept[frame.index] = frame
                size += frame.picture.nbytes
                if size > self._max_bytes:
                    kept.clear()
            yield row, frame
        self._kept = kept


def _plays(path: Path) -> bool:
    """Whether a file that is named like an image is a video."""
    try:
        return probe_video(path).kind == "video"
    except UserError:
        return False
