"""What a model file makes of people from one photo and from several, without training: the table of issue 19.

    python benchmarks/warping/table.py --project runs/warping_people
    python benchmarks/warping/table.py --project runs/warping_people --model other.safetensors --frames 48 --size 256
    python benchmarks/warping/table.py --project runs/warping_people --avatars runs/warping_avatars --photos 32

With --avatars, avatars are those of a project that benchmarks/warping/photos.py made, at one iteration of their sweep.
--judge dlib lets another program find the landmarks (benchmarks/warping/second_judge.py).

The project folder (benchmarks/warping/people.yaml says how to make it) holds crops and mattes of people who train
nothing. A person's photos are of the first part of a clip; held-out frames drive: the person's own (self), or the next
person's (cross). Written are scores.csv (a row a person, number of photos and protocol), regions.csv (where pictures
are wrong), and grid.png (people x drivers), which is not ours to ship.
"""

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
import yaml
from regions import REGIONS, region_errors
from second_judge import SecondFinder

from reenact.avatar import Avatar
from reenact.data.clip import Clip
from reenact.data.images import fit, resize_area
from reenact.data.sequence import CHECK, frames_of, shown_frames, spread
from reenact.evaluation import metrics
from reenact.evaluation.measure import DrivingFrames, IdentityReference, Measurer, measure_driver
from reenact.faces.landmarks import FACE_MEASURES, eye_opening, face_measures, found, mouth_opening
from reenact.faces.mediapipe_faces import FaceFinder
from reenact.models.family import Identity
from reenact.models.model_file import load_model
from reenact.models.warping.reenactor import WarpingReenactor
from reenact.monitoring.previews import write_grid
from reenact.settings.meta import BUNDLED_MODELS
from reenact.settings.model import PHOTOS
from reenact.settings.score import ScoreSettings
from reenact.training.warping.relief import with_relief

OFFERED = 32
"""Photos of a person that several are chosen from, spread over the training frames."""

STILL = {"mouth": 0.01, "blink": 0.04}
"""A driver whose opening has less than this standard deviation hardly moves: its correlation is of noise."""

LINES = {
    "identity / pose / motion error": ("identity_error", "pose_error", "motion_error"),
    "identity error to the driver": ("to_driver",),
    "mouth r, median (worst)": ("mouth_correlation",),
    "blink r, median (worst)": ("blink_correlation",),
    "PSNR / perceptual / matte IoU / sharpness": ("psnr", "perceptual", "matte_iou", "sharpness"),
    "jitter": ("jitter",),
}
SHOWN = {
    "open mouth": ("mouth", 1),
    "closed eyes": ("left_lids", -1),
    "smile": ("mouth_width", 1),
    "turned": ("yaw", 1),
    "tilted": ("roll", 1),
    "looking up": ("pitch", 1),
}
"""Drivers of the grid: the frame of all people's in which a measure of the face is largest or smallest."""


def photos_of(crops: Clip, mattes: Clip, count: int) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Crops and mattes of the middle training frame, or of some that `count` photos are chosen from."""
    names = frames_of(crops, "train")["image"].tolist()
    chosen = [names[len(names) // 2]] if count == 1 else [names[k] for k in spread(len(names), OFFERED)]
    return list(crops.images(chosen)), list(mattes.images(chosen))


@dataclass(frozen=True)
class Person:
    """One of the people: a clip, and what drives."""

    name: str
    crops: Clip
    mattes: Clip
    driving: DrivingFrames

    def photos(self, count: int) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """See `photos_of`."""
        return photos_of(self.crops, self.mattes, count)


AvatarOf = Callable[[Person, int], tuple[Avatar, Identity | None]]
"""A person and a number of photos -> what shows the person."""


def moved_photos(model: Path) -> AvatarOf:
    """Avatars of a meta-model as stage finetune makes them, without training."""
    net = load_model(model).reenactor.eval()
    assert isinstance(net, WarpingReenactor)

    def made(person: Person, count: int) -> tuple[Avatar, Identity | None]:
        photos = person.photos(count)
        return Avatar(with_relief(net.personalised(*photos, PHOTOS), *photos), {}, torch.device("cpu")), None

    return made


def fine_tuned(project: Path, iteration: int) -> AvatarOf:
    """Avatars of a project, at an iteration of their sweep."""
    sweeps = project / "results" / "avatars"
    return lambda person, count: (
        Avatar.load(sweeps / f"{person.name}_{count}" / "sweep" / f"{iteration:06d}.safetensors"),
        None,
    )


def open_person(folder: Path, name: str, frames: int, size: int, measurer: Measurer) -> Person:
    """A person of the project, whose held-out frames are measured."""
    crops, mattes = (Clip(folder / name / f"{part}.zip") for part in ("crops", "mattes"))
    shown = shown_frames(crops, "holdout", frames).assign(part=CHECK)  # nothing is chosen on them
    return Person(name, crops, mattes, measure_driver((crops, mattes), shown, size, measurer))


def scored(
    person: Person,
    driver: Person,
    made_of: tuple[Avatar, Identity | None],
    reference: IdentityReference,
    measurer: Measurer,
) -> tuple[dict[str, dict[str, float]], pd.DataFrame]:
    """Metrics of both protocols, and errors by region of self-driving."""
    (avatar, identity), rows, regions = made_of, {}, pd.DataFrame()
    for protocol, by in (("self", person), ("cross", driver)):
        made = avatar.drive(reference.drivers(protocol, by.crops), identity)
        output = reference.output((fit(rgb, reference.size), fit(matte, reference.size)) for rgb, matte in made)
        rows[protocol], _ = reference.compare(output, protocol)
        if protocol == "self":
            regions = region_errors(output, by.driving.truth, measurer.perceptual)
        else:
            rows[protocol]["to_driver"] = metrics.identity_error(output.descriptors, by.driving.truth.descriptors)
    return rows, regions


def measured(
    people: list[Person], avatar_of: AvatarOf, counts: list[int], size: int, measurer: Measurer
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Scores and errors by region of all people, from each number of photos."""
    scores, regions = [], []
    for number, person in enumerate(people):
        driver = people[(number + 1) % len(people)]
        driving = {"self": person.driving, "cross": driver.driving}
        reference = IdentityReference((person.crops, person.mattes), size, measurer, OFFERED, driving)
        for count in counts:
            rows, errors = scored(person, driver, avatar_of(person, count), reference, measurer)
            about = {"person": person.name, "driver": driver.name, "photos": count}
            scores += [about | {"protocol": protocol} | values for protocol, values in rows.items()]
            regions.append(errors.assign(**about))
            print(f"{person.name}: from {count} photo{'s' * (count > 1)}", flush=True)
    return pd.DataFrame(scores), pd.concat(regions)


def still_drivers(people: list[Person]) -> dict[str, list[str]]:
    """Whose held-out frames hardly move mouth or lids."""
    openings = {"mouth": mouth_opening, "blink": eye_opening}
    return {
        name: [p.name for p in people if np.nanstd(opening(p.driving.truth.landmarks)) < STILL[name]]
        for name, opening in openings.items()
    }


def table(scores: pd.DataFrame, still: dict[str, list[str]]) -> str:
    """The table: means over people, of correlations the median and the worst of those whose driver moves."""
    columns = [(count, protocol) for count in scores["photos"].unique().tolist() for protocol in ("self", "cross")]
    titles = (f"{count} photo{'s' * (count > 1)}, {protocol}" for count, protocol in columns)
    lines = ["| | " + " | ".join(titles) + " |"]
    lines.append("|" + " --- |" * (len(columns) + 1))
    for title, names in LINES.items():
        cells = []
        for count, protocol in columns:
            part = scores[(scores["photos"] == count) & (scores["protocol"] == protocol)]
            cells.append(" / ".join(_cell(part, name, still, protocol) for name in names))
        lines.append(f"| {title} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _cell(part: pd.DataFrame, name: str, still: dict[str, list[str]], protocol: str) -> str:
    """One figure of a number of photos and protocol."""
    if name not in part or part[name].isna().all():
        return "-"
    if not name.endswith("_correlation"):
        return f"{part[name].mean():.{1 if name == 'psnr' else 3}f}"
    by = "person" if protocol == "self" else "driver"
    moving = part[~part[by].isin(still[name.removesuffix("_correlation")])]
    if moving.empty:
        return "-"
    worst = moving.loc[moving[name].idxmin()]
    return f"{moving[name].median():.2f} ({worst[name]:.2f} {worst['person']})"


def region_table(regions: pd.DataFrame) -> str:
    """Errors by region, means over people, for each number of photos."""
    names = ["area", "error", "rms", "psnr", "perceptual", "missing", "surplus"]
    parts = []
    for count, part in regions.groupby("photos"):
        means = part.groupby("region")[names].mean().loc[list(REGIONS)]
        parts += [
            f"\n{count} photo{'s' * (count > 1)}, self:\n\n| region | " + " | ".join(names) + " |\n|" + " --- |" * 8
        ]
        parts += [f"| {name} | " + " | ".join(f"{row[k]:.3f}" for k in names) + " |" for name, row in means.iterrows()]
    return "\n".join(parts)


def drivers_of(people: list[Person], size: int) -> list[np.ndarray]:
    """Crops of the frames that `SHOWN` names, each of another person where that is possible."""
    clips = []
    for person in people:
        table = person.crops.table
        rows = np.flatnonzero((table["image"].astype(str) != "") & found(person.crops.landmarks()))
        values = face_measures(person.crops.landmarks()[rows])
        # What is usual for the person is taken away, but for turns.
        usual = np.array([0.0 if name in ("yaw", "roll", "pitch") else 1.0 for name in FACE_MEASURES])
        clips.append((rows, values - usual * np.median(values, 0)))
    taken, frames = set(), []
    for name, sign in SHOWN.values():
        column = list(FACE_MEASURES).index(name)
        free = [k for k in range(len(clips)) if k not in taken] or list(range(len(clips)))
        best = max(free, key=lambda k: (sign * clips[k][1][:, column]).max())
        taken.add(best)
        row = clips[best][0][(sign * clips[best][1][:, column]).argmax()]
        frames.append(people[best].crops.image(people[best].crops.table["image"].iloc[row]))
    return list(resize_area(np.stack(frames), size))


def grid(people: list[Person], avatar: Avatar, path: Path) -> None:
    """A row a person, made of one photo; a column a driver."""
    size = min(avatar.image_size, 256)
    drivers = drivers_of(people, size)
    rows = [np.stack([np.zeros_like(drivers[0]), *drivers])]
    for person in people:
        crops, mattes = person.photos(1)
        made = [rgb for rgb, _ in avatar.drive(iter(drivers), avatar.identify(crops, mattes))]
        pictures = (torch.cat(made) * 255).round().byte().permute(0, 2, 3, 1).numpy()
        rows.append(np.concatenate([resize_area(np.stack(crops), size), pictures]))
    write_grid(path, rows)


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--project", type=Path, required=True, help="folder with crops and mattes of the people")
    parser.add_argument("--model", type=Path, default=BUNDLED_MODELS["warping"], help="meta-model (.safetensors)")
    parser.add_argument("--avatars", type=Path, help="project of benchmarks/warping/photos.py, in place of --model")
    parser.add_argument("--iteration", type=int, default=100, help="of the sweep of these avatars")
    parser.add_argument("--judge", choices=["mediapipe", "dlib"], default="mediapipe", help="who finds landmarks")
    parser.add_argument("--photos", type=int, nargs="+", default=[1, 4], help="numbers of photos (a model keeps 4)")
    parser.add_argument("--frames", type=int, default=96, help="most frames that drive")
    parser.add_argument("--size", type=int, default=128, help="of the pictures that are compared, px")
    parser.add_argument("--folder", type=Path, help="what is written goes here; by default PROJECT/table")
    parser.add_argument("--people", nargs="+", help="some of the project's people")
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    project, folder = arguments.project, arguments.folder or arguments.project / "table"
    folder.mkdir(parents=True, exist_ok=True)
    names = arguments.people or list(yaml.safe_load((project / "config.yaml").read_text())["identities"])
    settings = ScoreSettings(descriptor_weights=str(project / ScoreSettings().descriptor_weights), identity_frames=12)
    avatar = Avatar.load(arguments.model)
    avatars, iteration = arguments.avatars, arguments.iteration
    avatar_of = fine_tuned(avatars, iteration) if avatars else moved_photos(arguments.model)
    with FaceFinder(min_confidence=settings.min_confidence) as finder:
        judge = SecondFinder(finder, project / "resources") if arguments.judge == "dlib" else finder
        measurer = Measurer(judge, settings)
        clips = project / "results" / "clips"
        people = [open_person(clips, name, arguments.frames, arguments.size, measurer) for name in names]
        still = still_drivers(people)
        scores, regions = measured(people, avatar_of, arguments.photos, arguments.size, measurer)
    scores.to_csv(folder / "scores.csv", index=False)
    regions.to_csv(folder / "regions.csv", index=False)
    if not arguments.avatars:
        grid(people, avatar, folder / "grid.png")
    for name, people_still in still.items():
        print(f"{name}: hardly moved by {', '.join(people_still) or 'nobody'}; left out as drivers")
    print(f"\n{table(scores, still)}\n{region_table(regions)}")


if __name__ == "__main__":
    main()
