"""Avatars of the ten people from 1, 8 and 32 photos: their photos, and the project that fine-tunes all of them.

    python benchmarks/warping/photos.py --project runs/warping_avatars --sweep 50 100
    snakemake --cores all --directory runs/warping_avatars results/avatars/{actor,stock}_{1,8,32}/selected.json
    python benchmarks/regret.py runs/warping_avatars

Written are photos/<person>_<count>/*.png, frames spread over the first 60 % of the clips that
benchmarks/warping/people.yaml names (a single one is the middle one), and config.yaml. Each avatar is driven by the
last 40 % of the next person's clip. Without --people, all ten.
"""

import argparse
import os
from pathlib import Path

import cv2
import yaml

from reenact.data.sequence import spread
from reenact.media.video import probe_video, read_video

PEOPLE = Path(__file__).with_name("people.yaml")
COUNTS = (32, 8, 1)
"""Photos of a person; fewer ones are some of the more."""

KNOWN = 0.6
"""First part of a clip, from which photos are."""


def write_photos(video: Path, folder: Path, counts: tuple[int, ...]) -> None:
    """Frames of the first part of a video as folder_<count>/<number>.png; of one photo the middle one."""
    media = probe_video(video)
    frames = [frame.pixels() for frame in read_video(media, [])]
    known = frames[: max(1, round(KNOWN * len(frames)))]
    for count in counts:
        numbers = [len(known) // 2] if count == 1 else spread(len(known), count)
        target = folder.with_name(f"{folder.name}_{count}")
        target.mkdir(parents=True, exist_ok=True)
        for number in numbers:
            cv2.imwrite(str(target / f"{number:05d}.png"), cv2.cvtColor(known[number], cv2.COLOR_RGB2BGR))


def configuration(clips: dict[str, str], counts: tuple[int, ...], sweep: list[int], frames: int) -> dict:
    """The project: an identity for each person and number of photos, and each person's later frames as a driver."""
    names = list(clips)
    following = dict(zip(names, [*names[1:], names[0]], strict=True))
    return {
        "identities": {f"{n}_{count}": {"media": f"photos/{n}_{count}"} for n in names for count in counts},
        "drivers": {f"{name}_later": {"media": clips[name], "start": f"{KNOWN:.0%}"} for name in names},
        "pairs": [[f"{n}_{count}", f"{following[n]}_later"] for n in names for count in counts],
        "model": {"preset": "warping"},
        "meta": {"name": "warping", "source": "bundled"},
        "finetune": {"preset": "warping", "sweep": sweep},
        "drive": {"frames": frames},
        "score": {"identity_frames": 12},
    }


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--project", type=Path, required=True, help="folder to write")
    parser.add_argument("--sweep", type=int, nargs="*", default=[50, 100], help="iterations of fine-tuning")
    parser.add_argument("--frames", type=int, default=96, help="most frames that drive an avatar of the sweep")
    parser.add_argument("--people", nargs="+", help="some of the ten")
    arguments = parser.parse_args()
    project = arguments.project
    listed = yaml.safe_load(PEOPLE.read_text(encoding="utf-8"))["identities"]
    # Media are given from a project two folders below the repository's, as this one may not be.
    home = PEOPLE.parents[2] / "runs" / "warping_people"
    clips = {name: home / listed[name]["media"] for name in arguments.people or listed}
    for name, video in clips.items():
        write_photos(video, project / "photos" / name, COUNTS)
        print(f"{name}: photos written", flush=True)
    media = {name: os.path.relpath(video.resolve(), project.resolve()) for name, video in clips.items()}
    config = configuration(media, COUNTS, arguments.sweep, arguments.frames)
    (project / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")


if __name__ == "__main__":
    main()
