"""Write docs/results.md and docs/demo.png from the results of `make demo`: python docs/make_results.py"""

import json
from pathlib import Path

import av
import cv2
import numpy as np
import pandas as pd

from reenact.clip import Clip

RESULTS, DOCS = Path("results"), Path("docs")
COLUMNS = ["identity_error", "pose_error", "motion_error", "psnr", "ssim", "perceptual", "matte_iou", "jitter", "failed"]
NAMES = {
    "0": "0: meta-model, no fine-tuning", "mean_image": "*mean image of the person*",
    "driver_frame": "*the driver's own frame*", "real_frames": "*the true frame (floor)*",
}  # fmt: skip
# First and last + 1 of the 68 landmarks of each part of the face, and whether its outline closes.
PARTS = [(0, 17, False), (17, 22, False), (22, 27, False), (27, 31, False), (31, 36, False), (36, 42, True), (42, 48, True), (48, 60, True), (60, 68, True)]
INTRODUCTION = """\
# Results of the demo

Made by `make demo` and then `python docs/make_results.py`, on two CPU cores. 64 px, meta-model trained on the spot
from three clips (the woman's first 60 %, and the two drivers `single_face` and `carphone`), so *cross-driving here means a
driver whom the meta-model has seen*, though never with this avatar. Held-out means the last 40 % of the woman's clip,
which no training sees. The cross driver is `carphone`, chosen because he moves (`single_face` hardly does), before any score was seen.

Lower is better, but for PSNR, SSIM and matte IoU. *identity error*: 1 - mean cosine to the person's training frames.
*pose error*: mean distance of 68 landmarks to the true frame's / outer-eye distance. *motion error*: the same after
taking each face's own mean shape away, and here no better than that of a still picture: five minutes of meta-learning on three
people teach the turn of the head, not mouths and eyes. *failed*: share of outputs in which no face was found; they are left out of the others.
Descriptor: {descriptor}. Perceptual distance: {perceptual_network}. Differences of under about 0.01 in pose and motion error are noise of the landmarks at 64 px.
"""


def table(scores: pd.DataFrame, chosen: str) -> str:
    """A Markdown table: one row a model."""
    known = [name for name in COLUMNS if scores[name].notna().any()]
    lines = ["| iteration | " + " | ".join(name.replace("_", " ") for name in known) + " |", "|" + " --- |" * (len(known) + 1)]
    for _, row in scores.iterrows():
        name = NAMES.get(row.model, row.model) + (" **(chosen)**" if row.model == chosen else "")
        cells = ["-" if pd.isna(row[c]) else f"{row[c]:.2f}" if c == "psnr" else f"{row[c]:.3f}" for c in known]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def frames(video: Path, count: int) -> list[np.ndarray]:
    """Pictures spread over a video, RGB."""
    with av.open(str(video)) as container:
        shown = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    return [shown[i] for i in np.linspace(0, len(shown) - 1, count).round().astype(int)]


def outlines(crops: Path, count: int) -> list[np.ndarray]:
    """The driver's landmarks as drawings (its frames are not ours to ship), RGB 320 x 320."""
    landmarks = Clip(crops).landmarks()
    pictures = []
    for i in np.linspace(0, len(landmarks) - 1, count).round().astype(int):
        picture = np.full((320, 320, 3), 24, np.uint8)
        for first, last, closed in PARTS:
            points = (landmarks[i, first:last] * 320 * 16).round().astype(np.int32)
            cv2.polylines(picture, [points], closed, (190, 205, 220), 2, cv2.LINE_AA, shift=4)
        pictures.append(picture)
    return pictures


def main() -> None:
    """Write both files."""
    parts, facts = [], {}
    for folder in sorted((RESULTS / "avatars").iterdir(), reverse=True):
        scores = pd.read_csv(folder / "scores.csv", dtype={"model": str})
        selected = json.loads((folder / "selected.json").read_text())
        facts = {name: scores[name].iloc[0] for name in ("descriptor", "perceptual_network")}
        parts.append(f"\n## {folder.name}\n\n{selected['reason']}\n")
        for protocol, rows in scores.groupby("protocol", sort=False):
            driver = "its own held-out frames" if protocol == "self" else "another person"
            parts.append(f"\nDriven by {driver} ({rows.frames.max()} frames):\n\n{table(rows, str(selected['iteration']))}")
    (DOCS / "results.md").write_text(INTRODUCTION.format(**facts) + "".join(parts))
    renders = RESULTS / "renders"
    rows = [outlines(RESULTS / "clips" / "pexels_held_out" / "crops.zip", 8)]
    rows += [frames(renders / identity / "pexels_held_out.mp4", 8) for identity in ("pexels_woman", "astronaut")]
    picture = np.vstack([np.hstack([cv2.resize(f, (160, 160), interpolation=cv2.INTER_AREA) for f in row]) for row in rows])
    cv2.imwrite(str(DOCS / "demo.png"), picture[..., ::-1])


if __name__ == "__main__":
    main()
