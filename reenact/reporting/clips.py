"""What a page shows of a clip: a line about its media, what stages crop and segment saw in it, and a contact sheet."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from reenact.data.clip import Clip
from reenact.data.sequence import spread
from reenact.reporting.pictures import thumbnail
from reenact.reporting.results import Results


@dataclass(frozen=True)
class ClipView:
    """What the page shows of one clip; `sheet` holds (data: URI, caption) of a crop above its matte."""

    name: str
    description: str = ""
    sheet: list[tuple[str, str]] = field(default_factory=list)


def view_clip(found: Results, name: str, frames: int) -> ClipView:
    """What was found of a clip, with at most `frames` pictures on its contact sheet."""
    source, crops, mattes = (found.get(f"clips/{name}/{file}") for file in ("source.json", "crops.zip", "mattes.zip"))
    description = _describe(json.loads(source.read_text(encoding="utf-8"))) if source else ""
    if not crops:
        return ClipView(name, description)
    clip, matte = Clip(crops), Clip(mattes) if mattes else None
    shown = clip.table[clip.table["image"].astype(str) != ""].reset_index(drop=True)
    description = " ".join(
        [description, *lost_frames(clip.table), *(matte_notes(matte.table) if matte else [])]
    ).strip()
    known = set(matte.table["image"]) if matte else set()
    sheet = []
    for _, row in shown.iloc[spread(len(shown), frames)].iterrows():
        below = matte.image(row["image"]) if matte and row["image"] in known else None
        held = ", held out" if row["role"] == "holdout" else ""
        caption = f"{row['time']:.2f} s{held}" if row.get("duration", 1) else f"photo {row['index'] + 1}"
        sheet.append((thumbnail(clip.image(row["image"]), below), caption))
    return ClipView(name, description, sheet)


def _describe(source: dict[str, Any]) -> str:
    """One line about a clip's media, from source.json."""
    text = f"{Path(source['media']).name}: {source['width']} × {source['height']} px, "
    if source["kind"] != "video":
        noun = "photo" if source["kind"] == "photos" else "crop"
        text += f"{source['frames']} {noun}s." if source["frames"] != 1 else f"one {noun}."
    else:
        text += (
            f"{source['frames']} frames, {source['start']:.2f} to {source['end']:.2f} s, {source['fps']:.5g} frames/s, "
        )
        text += "with sound." if source["audio"] else "without sound."
    # What was done to the pictures; damage is counted there too.
    return " ".join([text, *(f"{step[0].upper()}{step[1:]}." for step in source["steps"])])


def lost_frames(table: pd.DataFrame) -> list[str]:
    """What stage crop could not see, and why, from its table."""
    found = []
    for status, verb in (("dropped", "left out"), ("interpolated", "bridged"), ("held", "held")):
        if "reason" not in table:
            continue
        reasons = table["reason"][table["status"] == status].value_counts()
        if len(reasons):
            why = ", ".join(f"{count} {reason}" if reason else str(count) for reason, count in reasons.items())
            found.append(f"{reasons.sum()} of {len(table)} frames {verb} ({why}).")
    return found


def matte_notes(table: pd.DataFrame) -> list[str]:
    """How much of the crops is the person, and where that cannot be right, from the table of stage segment."""
    known = table["coverage"].dropna() if "coverage" in table else table[:0]
    if not len(known):
        return []
    text = f"The person covers {known.mean():.0%} of the crops ({known.min():.0%} to {known.max():.0%})."
    doubtful = table[table["warning"].astype(str) != ""] if "warning" in table else table[:0]
    if not len(doubtful):
        return [text]
    first = doubtful.iloc[0]
    noun = "matte" if len(doubtful) == 1 else "mattes"
    return [text, f"Look at {len(doubtful)} {noun}, the first at {first['time']:.2f} s: {first['warning']}."]
