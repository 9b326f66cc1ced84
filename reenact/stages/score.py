"""Stage score: numbers for every model of a sweep, and for baselines on the same frames."""

from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from reenact.data.clip import Clip
from reenact.data.sequence import SELECT
from reenact.evaluation.measure import (
    NETWORKS,
    ROLES,
    IdentityReference,
    MeasuredFrames,
    Measurer,
    baselines,
    measure_driver,
    part_of_frames,
)
from reenact.evaluation.metrics import METRICS
from reenact.faces.mediapipe_faces import FaceFinder
from reenact.runtime.files import write_text
from reenact.settings.score import ScoreSettings

COLUMNS = ["model", "protocol", "frames", *METRICS, *NETWORKS]
FRAME_COLUMNS = ["model", "protocol", "part", "run", "index", "failed", "identity_error", "pose_error", "motion_error"]


def score_avatar(
    *,
    driven: Path,
    identity_crops: Path,
    identity_mattes: Path,
    driver_crops: Path,
    driver_mattes: Path,
    scores: Path,
    frame_scores: Path,
    settings: ScoreSettings,
) -> None:
    """Measure every model in `driven` and the baselines; one row per (model, protocol).

    The identity error compares with the identity's training frames, as published; the baselines are those of
    `reenact.evaluation.measure.baselines`.

    Args:
        driven: outputs of stage drive.
        identity_crops, identity_mattes: clip files of the identity.
        driver_crops, driver_mattes: clip files of the driver of the cross protocol.
        scores: CSV to write, COLUMNS: of the frames on which no iteration is chosen (all frames where there are no
            such); metrics that do not apply to a protocol are empty.
        frame_scores: CSV to write, FRAME_COLUMNS: the errors of the trade-off by frame, and which part of the frames it
            belongs to (`reenact.data.sequence.parts`).

    Raises:
        UserError: the identity has no training frame, or its face is in none of those at the model's size.
    """
    with FaceFinder(min_confidence=settings.min_confidence) as finder:
        measurer = Measurer(finder, settings)
        clips = {
            "self": (Clip(identity_crops), Clip(identity_mattes)),
            "cross": (Clip(driver_crops), Clip(driver_mattes)),
        }
        rows, frames = _score(Clip(driven), clips, measurer, settings.reference_frames)
    table = pd.DataFrame(rows).assign(**measurer.names())
    write_text(scores, table[COLUMNS].to_csv(index=False, float_format="%.6g"))
    write_text(frame_scores, pd.concat(frames)[FRAME_COLUMNS].to_csv(index=False, float_format="%.6g"))


def _score(
    outputs: Clip, clips: dict[str, tuple[Clip, Clip]], measurer: Measurer, reference_frames: int
) -> tuple[list[dict], list[pd.DataFrame]]:
    """The rows of the score table and of the frames' table; `clips` are crops and mattes by protocol."""
    size = outputs.image(outputs.table["image"].iloc[0]).shape[0]
    by_protocol = dict(list(outputs.table.groupby("protocol", sort=False)))
    reference = IdentityReference(clips["self"], size, measurer, reference_frames, {})
    mean_image = reference.mean_image()
    rows, frames = [], []
    for protocol, part in by_protocol.items():
        shown = part[part["iteration"] == part["iteration"].iloc[0]]
        halves = part_of_frames(clips[protocol][0], ROLES[protocol])
        reference.driving[protocol] = measure_driver(
            clips[protocol], shown.assign(part=[halves.get(index, SELECT) for index in shown["index"]]), size, measurer
        )
        for model, sequence in _models(outputs, part, measurer, reference, mean_image, protocol):
            row, values = reference.compare(sequence, protocol)
            rows.append({"model": model, "protocol": protocol, **row})
            frames.append(values.assign(model=model, protocol=protocol))
            figures = ", ".join(
                f"{name} {row[name]:.3f}" for name in ("identity_error", "pose_error", "motion_error", "failed")
            )
            print(f"score {protocol} {model}: {figures}", flush=True)
    return rows, frames


def _models(
    outputs: Clip,
    part: pd.DataFrame,
    measurer: Measurer,
    reference: IdentityReference,
    mean_image: MeasuredFrames,
    protocol: str,
) -> Iterator[tuple[str, MeasuredFrames]]:
    """Yield (name, sequence) of the baselines and of every model, one in memory at a time."""
    yield from baselines(reference, protocol, mean_image)
    for iteration, rows in part.groupby("iteration"):
        images, mattes = outputs.images(rows["image"].tolist()), outputs.images(rows["matte"].tolist())
        yield str(iteration), measurer.sequence(images, mattes)
