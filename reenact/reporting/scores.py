"""The score tables of a page, and what their columns mean."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import pandas as pd

from reenact.evaluation.measure import NETWORKS
from reenact.reporting.results import Results


class Metric(NamedTuple):
    """A column of the tables: its heading, the format of its numbers, and what they mean."""

    heading: str
    format: str
    meaning: str


METRICS = {
    "identity_error": Metric(
        "identity error",
        "{:.3f}",
        "1 − mean cosine between face descriptors of the output and of the person's training frames: lower is more "
        "like the person, and not quite 0 for the person either.",
    ),
    "csim": Metric(
        "CSIM",
        "{:.3f}",
        "cosine between the face descriptor of the output and the mean of the person's: higher is more like the "
        "person.",
    ),
    "pose_error": Metric(
        "pose error",
        "{:.3f}",
        "mean distance of 68 face landmarks to those of the true frame, in outer-eye distances; only where the truth "
        "is known (self-driving). Lower is better.",
    ),
    "aligned_error": Metric(
        "aligned error",
        "{:.3f}",
        "the same after the best turn, scale and shift of each face onto the true one: what is left is expression and"
        " face shape. Lower is better.",
    ),
    "motion_error": Metric(
        "motion error",
        "{:.3f}",
        "the same distance after taking each face's own mean shape away, so that it also works across people: a still "
        "picture scores the driver's amount of motion. Lower is better.",
    ),
    "blink_correlation": Metric(
        "blink", "{:.2f}", "correlation of the eyes' opening with the driver's: 1 = in step, 0 = unrelated."
    ),
    "mouth_correlation": Metric(
        "mouth", "{:.2f}", "correlation of the mouth's opening with the driver's: 1 = in step, 0 = unrelated."
    ),
    "sharpness": Metric(
        "sharpness",
        "{:.2f}",
        "fine detail within the matte divided by that of the person's own pictures: 1 = as sharp, below = softer.",
    ),
    "psnr": Metric(
        "PSNR, dB",
        "{:.1f}",
        "pixel difference to the true frame, on black, in the box of the true matte. Higher is better.",
    ),
    "ssim": Metric(
        "SSIM", "{:.3f}", "structural similarity to the true frame in that box, 1 = equal. Higher is better."
    ),
    "perceptual": Metric(
        "perceptual",
        "{:.3f}",
        "distance to the true frame in that box, in the features of the network named above (only where that says "
        "LPIPS are figures comparable with LPIPS). Lower is better.",
    ),
    "matte_iou": Metric(
        "matte IoU", "{:.3f}", "overlap of the output's matte with the true one, 1 = equal. Higher is better."
    ),
    "jitter": Metric(
        "jitter",
        "{:.2f}",
        "mean landmark acceleration divided by the driver's: 1 = as calm as the driver, above = trembles, 0 = stands "
        "still.",
    ),
    "failed": Metric(
        "no face",
        "{:.0%}",
        "share of the output frames in which no face was found; they are left out of the other face measures.",
    ),
}
"""By column of scores.csv."""

BASELINES = {
    "0": "0, not fine-tuned",
    "mean_image": "mean image",
    "driver_frame": "driver's frames",
    "real_frames": "true frames",
}

PROTOCOLS = {
    "self": (
        "Self-driving",
        "Driven by the person's own held-out frames, which training never saw, so the true picture is known. For "
        "comparison: the mean of the training frames as a still picture, and the true frames themselves (the best "
        "that can be expected).",
    ),
    "cross": (
        "Cross-driving",
        "Driven by another person, so there is no true picture. For comparison: the mean of the training frames as a "
        "still picture (the person, but no motion), and the driver's own frames (the motion, but another person).",
    ),
}
"""Protocol -> title and note of its table."""


@dataclass(frozen=True)
class ScoreTable:
    """The scores of one protocol; a row is the model, whether it is the chosen one, and its cells."""

    title: str
    note: str
    columns: list[str]
    rows: list[tuple[str, bool, list[str]]]


def score_tables(scores: pd.DataFrame, chosen: int | None) -> list[ScoreTable]:
    """The table of each protocol: models of the sweep first, then the baselines.

    Args:
        scores: as stage score writes it, `model` being text.
        chosen: the iteration that became the avatar.
    """
    tables = []
    for protocol, part in scores.groupby("protocol", sort=False):
        names = [name for name in METRICS if name in part and part[name].notna().any()]
        models = part["model"].str.isdecimal()
        rows = []
        for _, row in pd.concat([part[models], part[~models]]).iterrows():
            cells = [METRICS[name].format.format(row[name]) if pd.notna(row[name]) else "–" for name in names]
            rows.append((BASELINES.get(row["model"], row["model"]), row["model"] == str(chosen), cells))
        title, note = PROTOCOLS[protocol]
        columns = [METRICS[name].heading for name in names]
        tables.append(ScoreTable(f"{title}, {part['frames'].max()} frames", note, columns, rows))
    return tables


def networks(found: Results, identities: Sequence[str]) -> dict[str, list[str]]:
    """Which networks made the numbers on the page, by column (NETWORKS)."""
    paths = [found.get(f"avatars/{name}/scores.csv") for name in identities]
    tables = [pd.read_csv(path) for path in paths if path]
    return {name: sorted({text for table in tables for text in table[name].dropna()}) for name in NETWORKS}
