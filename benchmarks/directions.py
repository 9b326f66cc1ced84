"""Expression controls on people who trained nothing: a table, a strip of pictures of each, and expression-only driving.

python benchmarks/directions.py --project runs/validation_people --out runs/directions --store \
    --fitted results/clips/astronaut results/clips/pexels_held_out results/clips/single_face results/clips/carphone
python benchmarks/directions.py --project . --people astronaut pexels_held_out --out runs/directions

The project's crops and mattes have to be there (rules crop and segment); the second line does without the clips. What
moves with each control, so that nothing else is seen to move, is fitted to the people of `--fitted`, and judged by the
others. Writes table.csv (docs/expressions.md), mixtures.json, tried.csv, following.csv and <control>.png, people in
rows, values from low to high in columns. `--store` puts what is offered into the model's file, which avatars made of it
inherit.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from PIL import Image

from reenact.data.clip import Clip
from reenact.data.images import resize_area, to_tensor
from reenact.data.sequence import spread
from reenact.faces.mediapipe_faces import FaceFinder
from reenact.models.pose_edit import PoseEdit
from reenact.models.warping.expression import HEAD_CONTROLS, Expressions
from reenact.rendering.compose import to_bytes
from reenact.settings.meta import BUNDLED_MODELS
from reenact.tools.controls import (
    FaceReader,
    Subject,
    Trial,
    avatar_of,
    fit_controls,
    measure_controls,
    meta_model,
    store_controls,
)

SIDE = 128
"""Of a picture in a strip, px."""
FRAMES = 32
"""Frames of each driver that are followed, spread over it."""
PEOPLE = {
    "author": "actor_2",
    "actor": "stock_2",
    "d9": "stock_2",
    "stock": "politician_2",
    "politician": "author_2",
    "speaker": "politician_2",
}
"""Identity -> its driver, of benchmarks/validation_people.yaml."""


def write_strips(trials: list[Trial], out: Path) -> None:
    """A picture of each control: people in rows, values in columns."""
    for control in dict.fromkeys(trial.control for trial in trials):
        of_control = [trial for trial in trials if trial.control == control]
        people = dict.fromkeys(trial.person for trial in of_control)
        rows = [[resize_area(t.picture[None], SIDE)[0] for t in of_control if t.person == p] for p in people]
        width = max(map(len, rows))
        full = [np.hstack(row + [np.zeros_like(row[0])] * (width - len(row))) for row in rows]
        Image.fromarray(np.vstack(full)).save(out / f"{control}.png")


def follow(model: Path, person: Subject, driver: Path, edit: PoseEdit, finder: FaceFinder) -> dict[str, float | str]:
    """How a person's avatar follows a driver with an edit.

    Returns:
        head_apart and head_furthest: mean and greatest angle between the head in the output and in the person's own
        picture, degrees; driver_head: mean angle of the driver's head from its mean; mouth, lids: r of how open they
        are.
    """
    net = meta_model(model)
    avatar, _, shape = avatar_of(net, person)
    reader = FaceReader(Expressions(net.face), finder, shape)
    clip = Clip(driver)
    names = [name for name in clip.table["image"] if name != ""]
    crops = clip.images([names[row] for row in spread(len(names), FRAMES)])
    poses = torch.cat([avatar.pose_embedding(to_tensor(crops[i : i + 8])) for i in range(0, len(crops), 8)])
    own = reader.read(to_bytes(avatar.render(None)[0][0].permute(1, 2, 0).numpy()))
    assert own is not None
    seen = []
    for crop, pose in zip(crops, poses.split(1), strict=True):
        shown = to_bytes(avatar.render(pose, edit=edit)[0][0].permute(1, 2, 0).numpy())
        both = reader.read(shown), reader.read(crop)
        if both[0] and both[1]:
            seen.append((both[0][0], both[1][0]))
    ours, theirs = (pd.DataFrame([pair[k] for pair in seen]) for k in (0, 1))
    start = np.array([own[0][name] for name in HEAD_CONTROLS])
    apart = np.linalg.norm(ours[list(HEAD_CONTROLS)] - start, axis=1)
    turned = np.linalg.norm(theirs[list(HEAD_CONTROLS)] - theirs[list(HEAD_CONTROLS)].mean(), axis=1)
    lids = [np.corrcoef(ours[lid], theirs[lid])[0, 1] for lid in ("blink_left", "blink_right")]
    return {
        "person": person.name,
        "driver": driver.parent.name,
        "frames": len(seen),
        "head_apart": apart.mean(),
        "head_furthest": apart.max(),
        "driver_head": turned.mean(),
        "mouth": np.corrcoef(ours["mouth_open"], theirs["mouth_open"])[0, 1],
        "lids": float(np.mean(lids)),
    }


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--project", type=Path, required=True, help="folder with results/clips")
    parser.add_argument("--people", nargs="+", default=list(PEOPLE), help="names of clips that controls are judged by")
    parser.add_argument(
        "--fitted", type=Path, nargs="+", default=[], help="folders of clips that mixtures are fitted to"
    )
    parser.add_argument("--model", type=Path, default=BUNDLED_MODELS["warping"], help="meta-model")
    parser.add_argument(
        "--weights", type=Path, default=Path("resources/weights/dlib_face_recognition_resnet_model_v1.dat")
    )
    parser.add_argument("--out", type=Path, required=True, help="folder to write")
    parser.add_argument("--store", action="store_true", help="put what is offered into the model's file")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    arguments.out.mkdir(parents=True, exist_ok=True)
    clips = arguments.project / "results" / "clips"
    people = [Subject(name, clips / name / "crops.zip", clips / name / "mattes.zip") for name in arguments.people]
    others = [Subject(path.name, path / "crops.zip", path / "mattes.zip") for path in arguments.fitted]
    mixtures = fit_controls(arguments.model, others, arguments.weights)
    (arguments.out / "mixtures.json").write_text(json.dumps(mixtures, indent=1))
    table, trials, tried = measure_controls(arguments.model, people, arguments.weights, mixtures)
    table.to_csv(arguments.out / "table.csv", index=False, float_format="%.4g")
    tried.to_csv(arguments.out / "tried.csv", index=False, float_format="%.5g")
    print(table.round(3).to_string(index=False), flush=True)
    write_strips(trials, arguments.out)
    if arguments.store:
        print("stored:", ", ".join(store_controls(arguments.model, table, mixtures)), flush=True)
    with FaceFinder() as finder:
        edit = PoseEdit(gains={"head": 0.0})
        drivers = {name: clips / driver / "crops.zip" for name, driver in PEOPLE.items()}
        rows = [
            follow(arguments.model, person, drivers[person.name], edit, finder)
            for person in people
            if person.name in drivers
        ]
    followed = pd.DataFrame(rows)
    followed.to_csv(arguments.out / "following.csv", index=False, float_format="%.4g")
    print(followed.round(3).to_string(index=False), flush=True)


if __name__ == "__main__":
    main()
