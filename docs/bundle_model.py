"""Make reenact/bundled/mini.safetensors of a trained meta-model: half precision, and the facts that go with a model that is shipped.

    python docs/bundle_model.py --model results/meta/mini/model.safetensors --clips ../shared/clips/manifest.csv

The clip table has the columns id, person, source and licence. --scores adds means of the table that docs/make_bundled.py
writes (of the same weights: they do not change).
"""

import argparse
from pathlib import Path

import pandas as pd
from make_bundled import COLUMNS, OURS

from reenact.models.model_file import load_model, save_model
from reenact.models.reenactor import build_discriminator
from reenact.runtime.errors import UserError
from reenact.settings.meta import BUNDLED_MODEL

LICENCE = (
    "Apache-2.0, as reenact. Trained on the clips listed; their footage is neither part of this file nor of reenact."
)
MOST = 16 * 2**20
"""Largest size of the file, bytes."""


def metadata_of(metadata: dict, clips: pd.DataFrame, scores: pd.DataFrame | None) -> dict:
    """What the model file says about itself: settings, clips with source and licence, licence of the weights, scores."""
    listed = clips.set_index("id").loc[metadata["clips"], ["person", "source", "licence"]].reset_index()
    settings = {**metadata["settings"], "start": None, "resume": None}  # folders of the machine that trained it
    if settings.get("face_recognition_weights"):
        settings["face_recognition_weights"] = Path(settings["face_recognition_weights"]).name
    result = {**metadata, "settings": settings, "licence": LICENCE, "trained_on": listed.to_dict("records")}
    if scores is not None:
        means = scores[scores["method"] == OURS].groupby(["frames", "protocol"])[COLUMNS].mean()
        result["scores"] = {
            f"{frames} frames, {protocol}": row.dropna().round(4).to_dict()
            for (frames, protocol), row in means.iterrows()
        }
    return result


def main() -> None:
    """Write the file, unless it gets too large."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--model", type=Path, required=True, help="meta-model of stage meta, or the bundled one to add scores to"
    )
    parser.add_argument("--clips", type=Path, required=True, help="table of the clips")
    parser.add_argument("--scores", type=Path, help="scores.csv of docs/make_bundled.py")
    arguments = parser.parse_args()
    reenactor, metadata, discriminator_weights = load_model(arguments.model)
    discriminator = build_discriminator(reenactor.architecture, 1)
    discriminator.load_state_dict(discriminator.state_dict() | discriminator_weights)
    scores = pd.read_csv(arguments.scores) if arguments.scores else None
    save_model(
        BUNDLED_MODEL, reenactor, metadata_of(metadata, pd.read_csv(arguments.clips), scores), discriminator, half=True
    )
    if BUNDLED_MODEL.stat().st_size > MOST:
        raise UserError(f"{BUNDLED_MODEL}: {BUNDLED_MODEL.stat().st_size} bytes, more than {MOST}")
    print(f"{BUNDLED_MODEL}: {BUNDLED_MODEL.stat().st_size / 2**20:.1f} MiB")


if __name__ == "__main__":
    main()
