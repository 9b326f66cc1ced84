"""Make the meta-model file that is shipped with the package: half precision, and a record of what it learned from."""

from pathlib import Path
from typing import Any

import pandas as pd

from reenact.models.model_file import constant, load_model, save_model
from reenact.models.reenactor import build_discriminator
from reenact.runtime.errors import UserError
from reenact.runtime.files import temporary_folder
from reenact.settings.meta import BUNDLED_MODELS

LICENCE = (
    "Apache-2.0, as reenact. Trained on the clips listed; their footage is neither part of this file nor of reenact."
)
MAX_SIZE = 16 * 2**20
"""Largest size of the file, bytes."""
BUNDLED = BUNDLED_MODELS["mini"]

METHOD = "fine-tuned from the bundled model"
"""The rows of a score table that are about the bundled model (column `method`)."""
METRICS = (
    "identity_error",
    "pose_error",
    "motion_error",
    "mouth_correlation",
    "blink_correlation",
    "psnr",
    "ssim",
    "perceptual",
    "matte_iou",
    "sharpness",
)


def bundle_model(
    *, model: Path, clips: Path, scores: Path | None = None, bundled: Path = BUNDLED_MODELS["mini"]
) -> None:
    """Write the bundled meta-model, unless it gets larger than `MAX_SIZE`.

    Args:
        model: a meta-model of stage meta, or the bundled one, to add scores to.
        clips: table of at least the clips that it learned from (columns id, person, source, licence).
        scores: table of benchmarks/bundled.py (columns method, frames, protocol and `METRICS`), for the same weights.
        bundled: file to write (.safetensors).

    Raises:
        UserError: no meta-model, a clip that is not in the table, or too large a file; nothing is written then.
    """
    loaded, metadata, discriminator_weights = load_model(model)
    if not discriminator_weights:
        raise UserError(f"{model}: not a meta-model (it has no discriminator); take the model of stage meta")
    reenactor = constant(loaded, model, "this tool")
    discriminator = build_discriminator(reenactor.architecture, 1)
    discriminator.load_state_dict(discriminator.state_dict() | discriminator_weights)
    record = {**metadata, "settings": _portable(metadata["settings"]), "licence": LICENCE}
    record["trained_on"] = _listed(metadata["clips"], clips)
    if scores is not None:
        record["scores"] = _means(pd.read_csv(scores))
    with temporary_folder(bundled.parent) as folder:
        made = folder / bundled.name
        save_model(made, reenactor, record, discriminator, half=True)
        size = made.stat().st_size
        if size > MAX_SIZE:
            raise UserError(
                f"{bundled}: {size:,} bytes, at most {MAX_SIZE:,} are allowed; choose a smaller architecture"
            )
        made.replace(bundled)


def _portable(settings: dict[str, Any]) -> dict[str, Any]:
    """Settings of the training without folders of the machine that it ran on."""
    named = {key: Path(value).name for key, value in settings.items() if key.endswith("weights") and value}
    return {**settings, **named, "start": None, "resume": None}


def _listed(names: list[str], clips: Path) -> list[dict[str, str]]:
    """Person, source and licence of each clip."""
    table = pd.read_csv(clips, keep_default_na=False).set_index("id")
    if unknown := sorted(set(names) - set(table.index)):
        raise UserError(f"{clips}: no clip {unknown[0]!r} (column id), which the model learned from")
    return table.loc[names, ["person", "source", "licence"]].reset_index().to_dict("records")


def _means(scores: pd.DataFrame) -> dict[str, dict[str, float]]:
    """Means over people, for each number of frames and each protocol."""
    ours = scores[scores["method"] == METHOD].groupby(["frames", "protocol"])[list(METRICS)].mean()
    return {
        f"{frames} frames, {protocol}": row.dropna().round(4).to_dict() for (frames, protocol), row in ours.iterrows()
    }
