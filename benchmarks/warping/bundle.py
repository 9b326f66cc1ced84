"""The file that ships, of the model that recipe.yaml makes: half precision, and a record of whom it learned from.

    python benchmarks/warping/bundle.py --project runs/warping --to reenact/bundled/warping.safetensors

Controls are stored after that, by benchmarks/directions.py.
"""

import argparse
import csv
from pathlib import Path
from typing import Any

from reenact.models.model_file import load_model, save_model
from reenact.runtime.errors import UserError

LICENCE = (
    "Apache-2.0; the pose encoder begins with, and the mesh network is, Google's mediapipe face landmarker (Apache-2.0)"
)
RUNS = "warping", "together"
"""Names of the recipe's two runs of stage meta."""

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
    first, last = (load_model(arguments.project / f"results/meta/{name}/model.safetensors") for name in RUNS)
    record = {
        "stage": "meta",
        "steps": first.metadata["steps"] + last.metadata["steps"],
        "licence": LICENCE,
        "made_by": "benchmarks/warping/recipe.yaml, benchmarks/warping/together.yaml",
        "trained_on": learned_from(arguments.project / "people.csv"),
    }
    save_model(arguments.to, last.reenactor, record, half=True)
    size = arguments.to.stat().st_size
    if size > MAX_SIZE:
        raise UserError(f"{arguments.to}: {size:,} bytes, at most {MAX_SIZE:,} are allowed")


if __name__ == "__main__":
    main()
