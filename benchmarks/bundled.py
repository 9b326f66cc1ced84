"""Write docs/bundled.md: what the bundled meta-model can do for validation people.

    python benchmarks/bundled.py --project runs/validation_people

The project folder (benchmarks/validation_people.yaml says how to make it) holds crops and mattes of validation people.
Each becomes an avatar from 1, 8 and 32 frames, fine-tuned as the published guide says, and is driven by their own
held-out frames and by another person, against the same network from random weights, the nearest of the same frames by
pose, and no fine-tuning.
"""

import argparse
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import torch
import yaml
from picture import outline

from reenact.avatar import Avatar
from reenact.data.clip import Clip
from reenact.data.images import resize_area
from reenact.data.samples import Sampler
from reenact.data.sequence import CHECK, shown_frames, spread
from reenact.data.training_clips import PeopleInMemory, TrainingClip, load_training_clip
from reenact.evaluation import metrics
from reenact.evaluation.measure import ROLES, IdentityReference, MeasuredFrames, Measurer, measure_driver
from reenact.faces.landmarks import eye_distance
from reenact.faces.mediapipe_faces import FaceFinder
from reenact.models.model_file import constant, load_model, save_model
from reenact.models.reenactor import Reenactor, build_discriminator
from reenact.monitoring.previews import write_grid
from reenact.monitoring.train_logger import TrainLogger
from reenact.runtime.devices import pick_device
from reenact.settings.finetune import FinetuneSettings
from reenact.settings.meta import BUNDLED_MODELS
from reenact.settings.score import ScoreSettings
from reenact.settings.training import TrainingSettings
from reenact.stages.finetune import guided_sweep, personalise, sampler
from reenact.tools.bundle_model import METHOD, METRICS
from reenact.training.adversarial import AdversarialObjective
from reenact.training.checkpoint import RunFolder, fingerprint
from reenact.training.loop import train
from reenact.training.pose_warmup import scale_descriptors
from reenact.training.resume import resume

BUNDLED = BUNDLED_MODELS["mini"]
DOCS = Path("docs")
FRAME_COUNTS = (1, 8, 32)
SHOWN = 32
"""Frames of each protocol, as published."""
COLUMNS = list(METRICS)
INTRODUCTION = """\
# The bundled meta-model

`meta.source: bundled` (`reenact/bundled/mini.safetensors`): 128 px, preset `mini`, {steps} steps on {clips} clips; the
model file carries their names. [How it was trained](experiments/bundled-model.md).

Made by `python benchmarks/bundled.py --project runs/validation_people` on {people} validation people: the meta-model
learned from none of them, but settings of fine-tuning were chosen on some, so this is no test set. Each avatar is made
from some of the first 60 % of a clip. *self* is driven by frames of its last 40 %, *cross* by another person; figures
are means over people of 32 frames each, and nothing was chosen on those frames. Fine-tuned as many iterations as the
published guide says for as many frames, with the settings of benchmarks/validation_people.yaml.

BUNDLED = BUNDLED_MODELS["mini"]

[Results](results.md) explains the metrics. Face descriptor: {descriptor}. Landmarks of pose and motion error:
{landmark_detector}, the teacher of the pose encoder's pretraining. Perceptual distance: {perceptual_network}, as
LPIPS's own weights could not be had here.

"""
RESPONSE = """
Driven by eight frames of different people, each with the face furthest from its usual shape: how much outputs, and
drivers, differ (mean distance of landmarks of any two after the best similarity, in eye distances). Driven by four
others with a plain face: identity error to the avatar's person, and to the driver.

"""
PICTURE = """
![Outlines of four drivers' faces, and six avatars following each](bundled.png)

The avatars from 32 frames, each driven by the same four frames of other people (drawn: they are not ours to ship),
again those furthest from a usual face.
"""
OURS, RANDOM, NEAREST, ZERO = (
    METHOD,
    "(a) fine-tuned from random weights",
    "(b) nearest frame by pose",
    "(c) bundled model, not fine-tuned",
)


@dataclass(frozen=True)
class Project:
    """Where things are: clips of the project, avatars that were made already, and settings."""

    clips: Path
    work: Path
    settings: FinetuneSettings
    device: torch.device

    def pair(self, name: str) -> tuple[Clip, Clip]:
        """Crops and mattes of a clip."""
        return Clip(self.clips / name / "crops.zip"), Clip(self.clips / name / "mattes.zip")

    def clip(self, name: str, count: int) -> TrainingClip:
        """`count` frames spread over those of a clip that may be trained on, at the model's size."""
        size = load_model(BUNDLED)[0].architecture.image_size
        whole = load_training_clip(self.clips / name / "crops.zip", self.clips / name / "mattes.zip", size)
        chosen = spread(len(whole.frames), count)
        return replace(
            whole, frames=whole.frames[chosen], mattes=whole.mattes[chosen], landmarks=whole.landmarks[chosen]
        )


@cache
def weights_hash(meta: Path) -> str:
    """Of the weights of a model file alone: the bundled one's facts change with every table that is made of it."""
    digest = hashlib.sha256()
    for name, values in sorted(load_model(meta)[0].state_dict().items()):
        digest.update(name.encode() + values.contiguous().numpy().tobytes())
    return digest.hexdigest()


def avatar_of(project: Project, name: str, count: int, meta: Path, kind: str) -> tuple[Path, Path]:
    """Model files of a person before and after the guide's iterations on `count` frames.

    They are made unless they are there, with these weights and settings.
    """
    steps = guided_sweep(count)[2]  # the whole guide
    made_by = fingerprint({"settings": project.settings.model_dump(mode="json"), "weights": weights_hash(meta)}, [])
    before, after = (project.work / f"{name}-{count}-{kind}-{made_by}-{step}.safetensors" for step in (0, steps))
    if not after.exists():
        clip = project.clip(name, count)
        learner = personalise(clip, meta, project.settings)
        save_model(before, learner.average, {"iteration": 0})
        batch_size = min(project.settings.max_batch, count)
        run = RunFolder(project.work / f"{name}-{count}-{kind}-{made_by}")
        resume(learner.to(project.device), run, steps)
        with TrainLogger(run, learner.step + 1, steps, f"{kind} {name} {count}", project.device) as logger:
            batches = sampler(clip, project.settings, batch_size)
            objective = AdversarialObjective(project.settings)
            train(learner, batches, run, steps, objective=objective, device=project.device, monitor=logger)
        save_model(after, learner.average, {"iteration": steps})
    return before, after


def random_meta(project: Project) -> Path:
    """A model of the bundled architecture with random weights, descriptors scaled as at the start of meta-learning."""
    architecture = constant(load_model(BUNDLED)[0], BUNDLED, "a model with random weights").architecture
    path = project.work / f"random-{fingerprint(architecture.to_json(), [])}.safetensors"
    if not path.exists():
        torch.manual_seed(1)
        net = Reenactor(architecture)
        people = [project.clip(folder.name, 8) for folder in sorted(project.clips.iterdir())]
        scale_descriptors(net, Sampler(PeopleInMemory(people), TrainingSettings(), 32, identity_frames=1)(0))
        save_model(path, net, {"stage": "random"}, build_discriminator(net.architecture, 1))
    return path


def nearest(reference: IdentityReference, protocol: str, frames: MeasuredFrames) -> MeasuredFrames:
    """For each driving frame that one of `frames` whose pose is most like it.

    Poses are landmarks less their usual place, in eye distances; in self-driving nothing is taken away: place and turn
    count as they are.
    """
    truth = reference.driving[protocol].truth.landmarks
    ours = frames.landmarks
    if protocol == "cross":
        truth, ours = ((points - np.nanmean(points, 0)) / np.nanmean(eye_distance(points)) for points in (truth, ours))
    distances = np.linalg.norm(truth[:, None] - ours[None], axis=-1).mean(-1)
    chosen = np.nanargmin(np.where(np.isnan(distances), np.inf, distances), 1)
    return MeasuredFrames(
        frames.images[chosen], frames.mattes[chosen], frames.landmarks[chosen], frames.descriptors[chosen]
    )


def compared(project: Project, name: str, driver: str, measurer: Measurer) -> Iterator[dict]:
    """Scores of one person: a row for each method, number of frames and protocol."""
    identity, other, size = (project.pair(name), project.pair(driver), load_model(BUNDLED)[0].architecture.image_size)
    # Nothing is chosen here, so that all frames count.
    driving = {
        protocol: measure_driver(pair, shown_frames(pair[0], ROLES[protocol], SHOWN).assign(part=CHECK), size, measurer)
        for protocol, pair in (("self", identity), ("cross", other))
    }
    reference = IdentityReference(identity, size, measurer, SHOWN, driving)
    for count in FRAME_COUNTS:
        before, after = avatar_of(project, name, count, BUNDLED, "bundled")
        _, blank = avatar_of(project, name, count, random_meta(project), "random")
        clip = project.clip(name, count)
        mattes = np.asarray(clip.mattes)
        masked = np.rint(clip.frames * (mattes[..., None] / 255)).astype(np.uint8)
        seen = measurer.sequence(masked, mattes)
        for protocol in driving:
            crops = (identity if protocol == "self" else other)[0]
            made = {
                method: reference.output(
                    Avatar.load(path, str(project.device)).drive(reference.drivers(protocol, crops))
                )
                for method, path in ((OURS, after), (RANDOM, blank), (ZERO, before))
            }
            for method, output in {**made, NEAREST: nearest(reference, protocol, seen)}.items():
                values, _ = reference.compare(output, protocol)
                yield {
                    **values,
                    "person": name,
                    "driver": driver,
                    "method": method,
                    "frames": count,
                    "protocol": protocol,
                    **measurer.names(),
                }


def known_faces(crops: Clip) -> tuple[np.ndarray, np.ndarray]:
    """Rows of a clip's table with a picture and a face, and how far each face is from the clip's usual shape."""
    landmarks = crops.landmarks()
    rows = np.flatnonzero((crops.table["image"].astype(str) != "").to_numpy() & np.isfinite(landmarks).all((1, 2)))
    shapes = landmarks[rows] - landmarks[rows].mean(1, keepdims=True)
    return rows, np.abs(shapes - np.median(shapes, 0)).mean((1, 2))


def extreme(crops: Clip) -> int:
    """Row in which the face is furthest from its usual shape."""
    rows, distances = known_faces(crops)
    return int(rows[distances.argmax()])


def usual(crops: Clip) -> int:
    """Row whose face is nearest to its usual shape: different people, the same plain expression."""
    rows, distances = known_faces(crops)
    return int(rows[distances.argmin()])


def crop_of(crops: Clip, row: int) -> np.ndarray:
    """The crop in a row of the table."""
    return crops.image(crops.table["image"].iloc[row])


def outputs(avatar: Avatar, drivers: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """What an avatar makes of single crops: RGB N x S x S x 3 and mattes N x S x S, uint8."""
    pairs = list(avatar.drive(iter(drivers), batch_size=len(drivers)))
    rgb, matte = (torch.cat(parts) for parts in zip(*pairs, strict=True))
    as_bytes = [(value * 255).round().byte().permute(0, 2, 3, 1).numpy() for value in (rgb, matte)]
    return as_bytes[0], as_bytes[1][..., 0]


def spread_of(landmarks: np.ndarray) -> float:
    """Mean over all pairs of faces of their distance after the best similarity, in outer-eye distances."""
    first, second = np.triu_indices(len(landmarks), 1)
    return metrics.aligned_error(landmarks[first], landmarks[second])


def response(project: Project, people: dict[str, list[str]], drivers: list[str], measurer: Measurer) -> pd.DataFrame:
    """Pose response and identity leak of every person's 32-frame avatar.

    Args:
        project: see there.
        people: identity -> names of the clips of the same person.
        drivers: clips, one of each person and more.
        measurer: the networks.
    """
    clips = {driver: project.pair(driver)[0] for driver in drivers}
    shown, plain = (
        {name: crop_of(crops, choose(crops)) for name, crops in clips.items()} for choose in (extreme, usual)
    )
    truth, rows = measure(measurer, list(shown.values())), []
    for name, own in people.items():
        avatar = Avatar.load(avatar_of(project, name, 32, BUNDLED, "bundled")[1], str(project.device))
        made = measurer.sequence(*outputs(avatar, list(shown.values())))
        others = [crop for driver, crop in plain.items() if driver not in own][:4]
        driven, theirs = measurer.sequence(*outputs(avatar, others)), measure(measurer, others)
        person = IdentityReference(project.pair(name), avatar.image_size, measurer, SHOWN, {}).references.descriptors
        to_driver = [
            metrics.identity_error(driven.descriptors[[i]], theirs.descriptors[[i]]) for i in range(len(others))
        ]
        rows.append(
            [
                name,
                spread_of(made.landmarks),
                spread_of(truth.landmarks),
                metrics.identity_error(driven.descriptors, person),
                np.nanmean(to_driver),
            ]
        )
    return pd.DataFrame(
        rows,
        columns=[
            "person",
            "outputs differ by",
            "drivers differ by",
            "identity error to the avatar's person",
            "to the driver",
        ],
    )


def measure(measurer: Measurer, crops: list[np.ndarray]) -> MeasuredFrames:
    """Real crops with their backgrounds, measured."""
    return measurer.sequence(np.stack(crops), np.full((len(crops), *crops[0].shape[:2]), 255, np.uint8))


def grid(project: Project, names: list[str], drivers: list[str]) -> None:
    """docs/bundled.png: identities x drivers, the drivers as drawings, since their frames are not ours to ship.

    The same with the drivers' frames stays in the work folder.
    """
    clips = [project.pair(driver)[0] for driver in drivers]
    shown = [crop_of(crops, extreme(crops)) for crops in clips]
    avatars = [Avatar.load(avatar_of(project, name, 32, BUNDLED, "bundled")[1], str(project.device)) for name in names]
    rows = [outputs(avatar, shown)[0] for avatar in avatars]
    size = avatars[0].image_size
    drawn = [outline(crops.landmarks()[extreme(crops)], size) for crops in clips]
    write_grid(DOCS / "bundled.png", [np.stack(drawn), *rows])
    write_grid(project.work / "grid.png", [resize_area(np.stack(shown), size), *rows])


def markdown(table: pd.DataFrame) -> str:
    """A table as Markdown, numbers with three digits."""
    cells = table.map(
        lambda value: (
            value
            if isinstance(value, str)
            else "-"
            if pd.isna(value)
            else f"{value:.3f}"
            if isinstance(value, float)
            else str(value)
        )
    )
    lines = [" | ".join(name.replace("_", " ") for name in table.columns), " | ".join("---" for _ in table.columns)]
    return "\n".join(f"| {line} |" for line in [*lines, *cells.agg(" | ".join, axis=1)]) + "\n"


def means(scores: pd.DataFrame) -> pd.DataFrame:
    """One row for each number of frames, protocol and method: means over people."""
    ordered = scores.assign(method=pd.Categorical(scores["method"], [OURS, RANDOM, NEAREST, ZERO]))
    found = ordered.groupby(["frames", "protocol", "method"], observed=True, sort=True)[COLUMNS].mean().reset_index()
    return found.assign(method=found["method"].astype(str))


def main() -> None:
    """Make the avatars, score them, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--project", type=Path, required=True, help="project folder whose clips are used")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, mps (default: auto)")
    arguments = parser.parse_args()
    config = yaml.safe_load((arguments.project / "config.yaml").read_text(encoding="utf-8"))
    work = arguments.project / "results" / "bundled"
    work.mkdir(parents=True, exist_ok=True)
    project = Project(
        arguments.project / "results" / "clips",
        work,
        FinetuneSettings.model_validate(config["finetune"]),
        pick_device(arguments.device),
    )
    drivers = {
        name: next(driver for person, driver in config["pairs"] if person == name) for name in config["identities"]
    }
    clips = [*config["identities"], *config["drivers"]][:8]
    same = {name: [clip for clip in clips if clip.split("_")[0] == name] for name in config["identities"]}
    settings = ScoreSettings(
        descriptor_weights=str(arguments.project / ScoreSettings().descriptor_weights), identity_frames=12
    )
    with FaceFinder(min_confidence=settings.min_confidence) as finder:
        measurer = Measurer(finder, settings)
        scores = pd.DataFrame(
            [row for name, driver in drivers.items() for row in compared(project, name, driver, measurer)]
        )
        scores.to_csv(work / "scores.csv", index=False)
        reacted = response(project, same, clips, measurer)
        grid(project, list(config["identities"]), list(config["drivers"])[:4])
    metadata = load_model(BUNDLED)[1]
    page = INTRODUCTION.format(
        clips=len(metadata["clips"]), steps=metadata["steps"], people=len(drivers), **measurer.names()
    )
    (DOCS / "bundled.md").write_text(
        page + markdown(means(scores)) + RESPONSE + markdown(reacted) + PICTURE, encoding="utf-8"
    )


if __name__ == "__main__":
    main()
