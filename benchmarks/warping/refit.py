"""Read pose descriptors anew: the face model's read-outs of a model file, fitted by today's code to a project's faces.

    snakemake --cores all --directory runs/warping --until shard results/meta/warping/model.safetensors
    python benchmarks/warping/refit.py --project runs/warping --model before.safetensors --to after.safetensors

The project is that of benchmarks/warping/recipe.yaml. Networks, mean face, directions and controls stay as they are in
the file; its read-outs are those that stage fit makes of its pose encoder.
"""

import argparse
from pathlib import Path

from reenact.data.expressions import find_expressions
from reenact.data.shard_people import Shards
from reenact.data.training_clips import few
from reenact.models.face_encoder import SIZE
from reenact.models.model_file import load_model, save_model
from reenact.models.warping.architecture import WarpingArchitecture
from reenact.models.warping.reenactor import WarpingReenactor
from reenact.settings.fit import FitSettings
from reenact.stages.fit import described_faces
from reenact.training.warping.fit import fit_readouts


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--project", type=Path, required=True, help="folder with shards and the landmarker")
    parser.add_argument("--model", type=Path, required=True, help="meta-model of the warping family (.safetensors)")
    parser.add_argument("--to", type=Path, required=True, help="file to write (.safetensors)")
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    settings, loaded = FitSettings(), load_model(arguments.model)
    before = loaded.reenactor
    assert isinstance(before, WarpingReenactor) and not before.personal
    files = tuple(sorted((arguments.project / "results/shards").glob("*.tar")))
    learned = few(Shards(files, "train", "clip").load(SIZE), settings.clips)
    landmarker = arguments.project / "resources/weights/face_landmarker_v2.task"
    known = find_expressions(learned, landmarker, settings.frames, arguments.threads)
    model = before.rebuilt(fresh=("face.readout",), waves=WarpingArchitecture().waves).eval()
    fit_readouts(model.face, described_faces(model.pose_encoder, learned, known))
    save_model(arguments.to, model, loaded.metadata | {"read_anew": "benchmarks/warping/refit.py"}, half=True)


if __name__ == "__main__":
    main()
