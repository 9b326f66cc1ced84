"""Write docs/footage.md: what decode, crop and segment make of real clips: python benchmarks/footage.py [--clips DIR]

Results of each clip are kept in results/footage/<clip>/ (crops.zip, mattes.zip, row.json and sheet.jpg, a contact sheet
to look at), and clips that have theirs are not done again. Only the table goes into docs/, no frame of anybody.
"""

import argparse
import json
import time
from collections import Counter
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd

from reenact.data.clip import Clip
from reenact.data.sequence import spread
from reenact.faces.crop_table import jitter
from reenact.media.frame_table import Stretch
from reenact.media.probe import probe
from reenact.runtime.errors import UserError
from reenact.settings.crop import CropSettings
from reenact.settings.decode import DecodeSettings
from reenact.settings.segment import SegmentSettings
from reenact.stages.crop import crop_clip
from reenact.stages.decode import decode_clip
from reenact.stages.segment import segment_clip

DOCS = Path("docs")
# Clips that the tests use too (tests/conftest.py fetches them); the first four are hard on purpose.
FETCHED = [
    "face_noface.mov",
    "noface_face.mov",
    "no_face.mp4",
    "multi_face.jpg",
    "WolfgangLanger_Pexels.mp4",
    "single_face.mp4",
    "carphone_pristine.mp4",
    "astronaut.png",
]
HEADINGS = [
    "clip",
    "grade",
    "frames",
    "kept",
    "dropped, and why",
    "face height, px",
    "jitter of the centre",
    "of the size",
    "coverage",
    "doubtful mattes",
    "s / 100 frames",
]
INTRODUCTION = """\
# Footage

What stages decode, crop and segment make of real clips with their default settings, as identities (frames without the
face are dropped), at most the first {frames} frames of each (of those without a grade, which the tests use, all). Made
by `python benchmarks/footage.py --clips DIR`; the clips themselves are not ours to ship. *grade* is their own list's: A
licence-clean as far as can be told, B source not stated, C excerpts, for development only.

*face height*: median (least to greatest), in the source. *jitter*: how restless the square is, the root mean square of
the second difference from frame to frame, in % of the face height (centre) or of the square's side (size), before →
after smoothing. *coverage*: mean share of the crop that the matte covers (least to greatest). *doubtful mattes*: frames
that stage segment warns of. *s / 100 frames*: CPU time of all three stages, two threads, starting Python left out; the
machine was busy with other work, which makes it longer by up to a half.

"""
STILL_WRONG = """
## What is still wrong

Contact sheets of 41 clips were looked at (`results/footage/<clip>/sheet.jpg`), all with doubtful mattes among them, and
those of 12 once more when this table was made. Squares sit around the head on all of them; what is wrong are mattes:

- Long dark hair before a dark background frays, and differs from frame to frame (`pcavs_517600_1`, in profile: the
  worst of all), or is missing beside the neck (`mead_W009_2`).
- Things of the background that touch the head and share its colours stay (`hm_amns_1`: a hat of straw before straw, and
  leaves; `dfdc_lyna_1`: a sofa behind the shoulders).
- Other people are removed unless they touch the person: a neighbour's hair on the shoulder (`multi_face.jpg`) or behind
  the head (`keep_real3_1`) stays. An opening of 3 % of the crop does not part them.
- A curtain's edge and a strip of blurred background are taken for hair beside a woman whose hair fills the frame's
  border (`pcavs_517600_3`).
- In a single frame of a fast movement the matte lacks the corner of the head that the frame cuts off (`lrs3_QoT0_1`).
- Eight frames of `dafoe_1` are dropped as *another person*, and are the same man: he whips his head around, the blurred
  frames of which decode leaves out, so what follows 0.2 s later looks like another scene, and he makes a face.
- Raised hands and subtitles on the chest belong to the matte (`hm_nice_1`, `emollama_3358_1`).
- Where a crop reaches out of its frame the matte fades within a tenth of the crop, so the hair of a head that the frame
  cuts off ends in a soft line (`hm_nhs_1`, `pcavs_*`).
- *blurred* in `face_noface.mov` and `noface_face.mov` are a black picture and a plain sky right after the cut: nobody
  is in them.
  """


def make_row(media: Path, folder: Path, most: int) -> dict[str, Any]:
    """Run the three stages on one clip, or on its first `most` frames, and sum up what came out."""
    folder.mkdir(parents=True, exist_ok=True)
    files = {name: folder / name for name in ("frames.csv", "source.json", "crops.zip", "mattes.zip")}
    clock, cores = time.perf_counter(), time.process_time()
    row: dict[str, Any] = {"clip": media.name}
    try:
        known = probe(media)
        end = None if known.kind != "video" or not known.fps else (most - 0.5) / known.fps
        decode_clip(
            media=media,
            frames=files["frames.csv"],
            source=files["source.json"],
            role="identity",
            stretch=Stretch(end=end),
            settings=DecodeSettings(max_frames=10**6),
        )
        row["frames"] = len(pd.read_csv(files["frames.csv"]))
        crop_clip(media=media, frames=files["frames.csv"], crops=files["crops.zip"], settings=CropSettings(), threads=2)
        segment_clip(crops=files["crops.zip"], mattes=files["mattes.zip"], settings=SegmentSettings(), threads=2)
    except UserError as error:
        return row | {"error": str(error).removeprefix(f"{media}: ")}
    row |= {"seconds": time.perf_counter() - clock, "core_seconds": time.process_time() - cores}
    crops, mattes = Clip(files["crops.zip"]), Clip(files["mattes.zip"])
    cv2.imwrite(str(folder / "sheet.jpg"), make_sheet(crops, mattes)[..., ::-1])
    unused = pd.read_csv(files["frames.csv"], keep_default_na=False).query("role == 'unused'")["reason"]
    return row | measure(crops.table, mattes.table, Counter(unused))


def measure(crops: pd.DataFrame, mattes: pd.DataFrame, unused: Counter[str]) -> dict[str, Any]:
    """The figures of one clip from the tables of crop and segment, and the reasons why decode left frames out."""
    kept = crops[crops["image"] != ""]
    known = mattes.loc[mattes["image"] != "", "coverage"]
    return {
        "kept": len(kept),
        "reasons": dict(unused + Counter(crops.loc[crops["image"] == "", "reason"])),
        "face_height": [float(kept["face_height"].quantile(q)) for q in (0.0, 0.5, 1.0)],
        "jitter": jitter(crops),
        "coverage": [float(known.min()), float(known.mean()), float(known.max())],
        "warnings": int((mattes["warning"] != "").sum()),
    }


def make_sheet(crops: Clip, mattes: Clip, count: int = 8) -> np.ndarray:
    """Crops with the edge of their matte above what is left of them on grey, spread over a clip: uint8 RGB."""
    shown = crops.table.loc[crops.table["image"] != "", "image"].tolist()
    columns = []
    for name in (shown[i] for i in spread(len(shown), count)):
        crop, matte = crops.image(name), mattes.image(name)
        edges, _ = cv2.findContours((matte > 127).astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
        outlined = cv2.drawContours(crop.copy(), edges, -1, (0, 255, 0), 1)
        share = matte[..., None] / 255
        columns.append(np.vstack([outlined, (crop * share + np.array([90, 90, 160]) * (1 - share)).astype(np.uint8)]))
    return np.hstack(columns)


def format_row(row: dict[str, Any], grade: str) -> str:
    """One line of the table."""
    if "error" in row:
        message = row["error"].split(". ")[0]
        return f"| {row['clip']} | {grade} | {row.get('frames', '-')} | 0 | stops: {message} |" + " - |" * (
            len(HEADINGS) - 5
        )
    lost = ", ".join(f"{count} {reason}" for reason, count in _plain(row["reasons"]).items()) or "-"
    low, middle, high = row["face_height"]
    least, mean, most = row["coverage"]
    steps = [[100 * row["jitter"][f"{what}_{when}"] for when in ("before", "after")] for what in ("centre", "scale")]
    restless = ["-" if np.isnan(before) else f"{before:.2f} → {after:.2f}" for before, after in steps]
    cells = [
        row["clip"],
        grade,
        row["frames"],
        row["kept"],
        lost,
        f"{middle:.0f} ({low:.0f}-{high:.0f})",
        *restless,
        f"{mean:.0%} ({least:.0%}-{most:.0%})",
        row["warnings"] or "-",
        f"{100 * row['core_seconds'] / row['frames']:.1f}" if row["frames"] > 1 else "-",
    ]
    return "| " + " | ".join(str(cell) for cell in cells) + " |"


def _plain(reasons: dict[str, int]) -> Counter[str]:
    """Reasons without the figures that they give in brackets."""
    plain: Counter[str] = Counter()
    for reason, count in reasons.items():
        plain[reason.split(" (")[0]] += count
    return plain


def summary(rows: list[dict[str, Any]]) -> str:
    """All clips in a few words."""
    done = [row for row in rows if "error" not in row]
    frames, kept = sum(row["frames"] for row in done), sum(row["kept"] for row in done)
    reasons: Counter[str] = Counter()
    for row in done:
        reasons.update(_plain(row["reasons"]))
    doubtful, cores = sum(row["warnings"] for row in done), sum(row["core_seconds"] for row in done)
    calm = [row["jitter"] for row in done if not np.isnan(row["jitter"]["centre_before"])]
    middle = {
        key: 100 * float(np.median([jitters[key] for jitters in calm]))
        for key in ("centre_before", "centre_after", "scale_before", "scale_after")
    }
    return (
        f"{len(rows)} clips, of which {len(rows) - len(done)} end with an error, as they should if there is nobody in "
        f"them. {frames} frames, {kept} kept; dropped: "
        f"{', '.join(f'{count} {reason}' for reason, count in reasons.most_common()) or 'none'}. Jitter, median of the "
        f"clips: centre {middle['centre_before']:.2f} % of the face height before smoothing, "
        f"{middle['centre_after']:.2f} % after; size {middle['scale_before']:.2f} % before, "
        f"{middle['scale_after']:.2f} % after. {doubtful} doubtful mattes. {100 * cores / frames:.1f} s of one core "
        "for 100 frames.\n\n"
    )


def main() -> None:
    """Do what is not done yet, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--clips",
        type=Path,
        default=Path("../shared/clips"),
        help="folder of clips with its manifest.csv (default: ../shared/clips)",
    )
    parser.add_argument(
        "--media",
        type=Path,
        default=Path("resources/media"),
        help="where the fetched test clips are (default: resources/media)",
    )
    parser.add_argument(
        "--results",
        type=Path,
        default=Path("results/footage"),
        help="where results are kept (default: results/footage)",
    )
    parser.add_argument("--frames", type=int, default=120, help="most frames of a clip (default: 120)")
    parser.add_argument("--table-only", action="store_true", help="leave out clips that are not done yet")
    arguments = parser.parse_args()
    clips = [(arguments.media / name, "") for name in FETCHED]
    manifest = arguments.clips / "manifest.csv"
    if manifest.is_file():
        clips += [
            (arguments.clips / f"{clip}.mp4", grade)
            for clip, grade in pd.read_csv(manifest)[["id", "grade"]].itertuples(index=False)
        ]
    rows, lines = [], []
    for number, (media, grade) in enumerate(clips):
        folder = arguments.results / media.name.replace(".", "_")
        kept = folder / "row.json"
        if not kept.exists() and arguments.table_only:
            continue
        if not kept.exists():
            print(f"{number + 1} of {len(clips)}: {media}", flush=True)
            row = make_row(media, folder, arguments.frames if grade else 10**6)
            kept.write_text(json.dumps(row))
        rows.append(json.loads(kept.read_text()))
        lines.append(format_row(rows[-1], grade or "-"))
    head = "| " + " | ".join(HEADINGS) + " |\n" + "|" + " --- |" * len(HEADINGS) + "\n"
    text = INTRODUCTION.format(frames=arguments.frames) + summary(rows) + head + "\n".join(lines) + "\n"
    (DOCS / "footage.md").write_text(text + STILL_WRONG, encoding="utf-8")


if __name__ == "__main__":
    main()
