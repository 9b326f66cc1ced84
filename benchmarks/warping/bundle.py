"""The file that ships, of the model that together.yaml makes: half precision, and a record of whom it learned from.

    python benchmarks/warping/bundle.py --project runs/warping --to reenact/bundled/warping.safetensors

Controls are stored after that, by benchmarks/directions.py.
"""

import argparse
import csv
import hashlib
from pathlib import Path
from typing import Any

from reenact.models.model_file import load_model, save_model
from reenact.runtime.errors import UserError

LICENCE = (
    "Apache-2.0; the pose encoder begins with, and the mesh network is, Google's mediapipe face landmarker (Apache-2.0)"
)
CLIPS = "clips/"
"""What names of clips of the first folder of tables.py begin with."""

MAX_SIZE = 24 * 2**20
"""Largest size of the file, bytes."""


def learned_from(table: Path) -> dict[str, Any]:
    """Of a table of tables.py: names of the videos that train, and how many pictures of how many people."""
    with table.open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["split"] == "train"]
    videos = [row["clip"].removeprefix(CLIPS) for row in rows if row["path"].endswith(".mp4")]
    stills = [row["identity"] for row in rows if not row["path"].endswith(".mp4")]
    return {"clips": videos, "stills": len(stills), "people_in_stills": len(set(stills)), "grades": "A and B"}


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--project", type=Path, required=True, help="folder of recipe.yaml, with people.csv")
    parser.add_argument("--to", type=Path, required=True, help="file to write (.safetensors)")
    arguments = parser.parse_args()
    loaded = load_model(arguments.project / "results/meta/together/model.safetensors")
    before = arguments.project / "results/meta/warping/model.safetensors"
    record = {
        "stage": "meta",
        "steps": loaded.metadata["steps"],
        "goes_on_from": {
            "steps": load_model(before).metadata["steps"],
            "sha256": hashlib.sha256(before.read_bytes()).hexdigest(),
        },
        "licence": LICENCE,
        "made_by": "benchmarks/warping/recipe.yaml and together.yaml, docs/experiments/warping.md",
        "trained_on": learned_from(arguments.project / "people.csv"),
    }
    save_model(arguments.to, loaded.reenactor, record, half=True)
    size = arguments.to.stat().st_size
    if size > MAX_SIZE:
        raise UserError(f"{arguments.to}: {size:,} bytes, at most {MAX_SIZE:,} are allowed")


if __name__ == "__main__":
    main()
