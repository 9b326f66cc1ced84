"""How much of a driver's expression comes through, across people: python benchmarks/warping/across.py --project PROJECT

Each of the ten people of benchmarks/warping/people.yaml, from one photo, is driven by five frames of each of the nine
others. Blendshapes are read in drivers and in pictures by mediapipe's face landmarker. For some of them, over all
pictures and after each avatar's own mean is taken away: the correlation with the driver's, and the slope, which is 1
where all of it comes through. Other than benchmarks/warping/table.py, whose correlations are within a driver's clip,
this shows whether somebody who smiles in every frame makes an avatar smile.

The landmarker is fetched by `snakemake --directory PROJECT resources/weights/face_landmarker_v2.task`.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
import yaml
from table import photos_of

from reenact.avatar import Avatar
from reenact.data.clip import Clip
from reenact.data.sequence import spread
from reenact.faces.blendshapes import BLENDSHAPES, FaceLandmarker
from reenact.settings.meta import BUNDLED_MODELS

FRAMES = 5
"""Of each driver, spread over the clip."""

READ = {
    "smile": ("mouthSmileLeft", "mouthSmileRight"),
    "jaw": ("jawOpen",),
    "pucker": ("mouthPucker",),
    "inner brows": ("browInnerUp",),
    "frown": ("browDownLeft", "browDownRight"),
    "lids": ("eyeBlinkLeft", "eyeBlinkRight"),
}


def driving(crops: Clip) -> list[np.ndarray]:
    """Some frames of a clip."""
    names = [name for name in crops.table["image"].astype(str).tolist() if name]
    return list(crops.images([names[k] for k in spread(len(names), FRAMES)]))


def read(landmarker: FaceLandmarker, pictures: list[np.ndarray]) -> np.ndarray:
    """The numbers of READ: pictures x READ; NaN where no face is found."""
    columns = [[BLENDSHAPES.index(name) for name in names] for names in READ.values()]
    found = [landmarker.read(np.ascontiguousarray(picture)) for picture in pictures]
    nothing = [np.nan] * len(columns)
    return np.array([nothing if f is None else [f.blendshapes[part].mean() for part in columns] for f in found])


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--project", type=Path, required=True, help="folder with crops and mattes of the people")
    parser.add_argument("--model", type=Path, default=BUNDLED_MODELS["warping"], help="meta-model (.safetensors)")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    project = arguments.project
    names = list(yaml.safe_load((project / "config.yaml").read_text())["identities"])
    pairs = [
        (Clip(project / f"results/clips/{name}/crops.zip"), Clip(project / f"results/clips/{name}/mattes.zip"))
        for name in names
    ]
    landmarker = FaceLandmarker(project / "resources/weights/face_landmarker_v2.task")
    drivers = [driving(crops) for crops, _ in pairs]
    said = [read(landmarker, frames) for frames in drivers]
    avatar = Avatar.load(arguments.model)
    given, shown = [], []
    for number, pair in enumerate(pairs):
        identity = avatar.identify(*photos_of(*pair, 1))
        frames = [frame for k, clip in enumerate(drivers) if k != number for frame in clip]
        made = torch.cat([rgb for rgb, _ in avatar.drive(iter(frames), identity)])
        values = read(landmarker, list((made * 255).round().byte().permute(0, 2, 3, 1).numpy()))
        shown.append(values - np.nanmean(values, 0))
        given.append(np.concatenate([one for k, one in enumerate(said) if k != number]))
    x, y = np.concatenate(given), np.concatenate(shown)
    print("| | r | slope |\n|---|---:|---:|")
    for column, name in enumerate(READ):
        known = np.isfinite(x[:, column] + y[:, column])
        a, b = x[known, column], y[known, column]
        a = a - a.mean()
        print(f"| {name} | {np.corrcoef(a, b)[0, 1]:.2f} | {(a * b).sum() / (a * a).sum():.2f} |")


if __name__ == "__main__":
    main()
