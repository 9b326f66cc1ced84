"""Stage `decode`: the frames of one clip with their exact times, and what each is used for.

Only a table is written. Storing decoded pictures would cost disk and time for nothing: stage `crop`
streams through the media again and keeps the part that matters.
"""

import json
import logging
from collections import Counter
from pathlib import Path
from typing import Literal

import pandas as pd

from reenact.media.frame_table import Stretch, frame_table
from reenact.media.frames import Media
from reenact.media.probe import probe
from reenact.runtime.files import atomic_write
from reenact.runtime.parallel import opencv_in_one_thread
from reenact.settings.decode import DecodeSettings

LOG = logging.getLogger(__name__)


# Pictures are small here: sharing one among threads takes longer than the work.
@opencv_in_one_thread()
def decode_clip(
    *,
    media: Path,
    frames: Path,
    source: Path,
    role: Literal["identity", "driver"],
    stretch: Stretch,
    settings: DecodeSettings,
    threads: int = 2,
) -> None:
    """Write the frame table of a clip (`reenact.media.frame_table`) and a description of its media.

    Args:
        media: a video; for an identity also an image, a folder of images, or a folder of crops (published layout).
        frames: the table to write (.csv).
        source: the description to write (.json): kind, size, frames, fps, duration, start and end (times in the file,
            s), audio, number of damaged frames, what was done to the pictures.
        role: "identity" frames are train, holdout or unused, those of a "driver" all drive.
        stretch: the part of the clip that is used, and which of it is held out.
        settings: see `DecodeSettings`.
        threads: of the decoder.

    Raises:
        UserError: the media cannot be read, a driver is not a video, nothing lies inside the stretch, or the files
            cannot be written.
    """
    known = probe(media)
    damage: list[str] = []
    table = frame_table(known, role, stretch, settings, damage, threads)
    if damage:
        LOG.warning("%s: %s", media, _describe_damage(damage))
    description = json.dumps(_describe(known, table, damage), indent=1)
    with atomic_write(source) as source_file, atomic_write(frames) as frames_file:
        source_file.write_text(description + "\n", encoding="utf-8")
        table.to_csv(frames_file, index=False)


def _describe(media: Media, table: pd.DataFrame, damage: list[str]) -> dict[str, object]:
    video = media.kind == "video"
    duration = float(table["time"].iloc[-1] + table["duration"].iloc[-1])
    begin = float(table["source_time"].iloc[0])
    steps = list(media.steps)
    for note, count in Counter(note for notes in table["notes"] for note in notes.split("; ") if note).items():
        steps.append(f"{note}: {count} of {len(table)} frames")
    if damage:
        steps.append(_describe_damage(damage))
    return {
        "media": str(media.path),
        "kind": media.kind,
        "width": media.width,
        "height": media.height,
        "frames": len(table),
        "fps": len(table) / duration if video else None,
        "duration": duration,
        "start": begin,
        "end": begin + duration,
        "audio": media.audio,
        "damaged_frames": len(damage),
        "steps": steps,
    }


def _describe_damage(damage: list[str]) -> str:
    return f"{len(damage)} damaged left out: {'; '.join(damage[:5])}{' ...' if len(damage) > 5 else ''}"
