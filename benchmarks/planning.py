"""How long does Snakemake plan a workflow with a large meta-learning set? python benchmarks/planning.py

For each size a project is made in a temporary folder: a table of so many videos, 200 people who become avatars, 3
drivers, and empty files in place of all media. `snakemake --dry-run` then plans everything from nothing. Time is by the
clock, memory that of the largest process.
"""

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parent.parent
CORES = 2
CLIPS_OF_A_PERSON = 25


def make_project(folder: Path, videos: int, avatars: int, drivers: int, shards: int, source: str) -> None:
    """A configuration that learns from `source`, a table of videos (set.csv), and empty files (videos/<identity>/)."""
    names = [(f"id{number // CLIPS_OF_A_PERSON:05d}", f"{number:06d}") for number in range(videos)]
    for identity in sorted({identity for identity, _ in names}):
        (folder / "videos" / identity).mkdir(parents=True)
    rows = ["clip,identity,path"]
    for identity, name in names:
        path = f"videos/{identity}/{name}.mp4"
        (folder / path).touch()
        rows.append(f"{identity}/{name},{identity},{path}")
    (folder / "set.csv").write_text("\n".join(rows) + "\n")
    people = {
        kind: [f"{kind}{number:03d}" for number in range(count)]
        for kind, count in (("avatar", avatars), ("driver", drivers))
    }
    (folder / "media").mkdir()
    for name in (*people["avatar"], *people["driver"]):
        (folder / "media" / f"{name}.mp4").touch()
    (folder / "weights.dat").touch()
    config = {
        "identities": {name: {"media": f"media/{name}.mp4"} for name in people["avatar"]},
        "drivers": {name: {"media": f"media/{name}.mp4"} for name in people["driver"]},
        "meta": {"set": source, "shards": shards},
        "score": {"descriptor_weights": "weights.dat"},
        "fetch": {},
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(config))


def plan(folder: Path) -> tuple[float, float, float, int]:
    """Seconds by the clock and of cores, peak memory (MB), and number of jobs of a dry run."""
    command = [
        sys.executable,
        "-m",
        "snakemake",
        "--snakefile",
        str(ROOT / "Snakefile"),
        "--cores",
        str(CORES),
        "--dry-run",
        "--quiet",
        "rules",
    ]
    started, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        command, cwd=folder, env=os.environ | {"PYTHONPATH": str(ROOT)}, text=True, capture_output=True
    )
    seconds = time.perf_counter() - started
    if done.returncode:
        sys.exit(f"error: the dry run failed\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    jobs = next((int(line.split()[1]) for line in done.stdout.splitlines() if line.startswith("total")), 0)
    # Of the largest child so far; sizes are planned in ascending order.
    unit = 1024 if sys.platform != "darwin" else 1024**2
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cores = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return seconds, cores, after.ru_maxrss / unit, jobs


def main() -> None:
    """Print a row for every size."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--videos", type=int, nargs="+", default=[1_500, 15_000, 150_000], help="sizes of the set, ascending"
    )
    parser.add_argument("--folder", action="store_true", help="let the folder of the videos be the set, not the table")
    parser.add_argument("--avatars", type=int, default=200, help="people who become avatars (default: 200)")
    parser.add_argument("--drivers", type=int, default=3, help="videos that each of them follows (default: 3)")
    parser.add_argument("--shards", type=int, default=64, help="shards of the set (default: 64)")
    arguments = parser.parse_args()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:CORES])
    print(
        f"{arguments.avatars} avatars, {arguments.drivers} drivers, {arguments.shards} shards, {CORES} cores, "
        f"load {os.getloadavg()[0]:.1f}\n"
    )
    print(f"{'videos':>8s} {'jobs':>6s} {'s':>6s} {'core s':>7s} {'MB':>6s}")
    for videos in sorted(arguments.videos):
        with tempfile.TemporaryDirectory(prefix="reenact-planning-") as name:
            make_project(
                Path(name),
                videos,
                arguments.avatars,
                arguments.drivers,
                arguments.shards,
                "videos" if arguments.folder else "set.csv",
            )
            seconds, cores, memory, jobs = plan(Path(name))
        print(f"{videos:8,d} {jobs:6,d} {seconds:6.1f} {cores:7.1f} {memory:6.0f}", flush=True)


if __name__ == "__main__":
    main()
