"""The demo before and after: python benchmarks/before_after.py OLD [NEW] [--preset mini] [--cores N]

Both commits (NEW: HEAD) are checked out into temporary folders, and the demo of each is built there, one after the
other, from nothing, by the Python that runs this; media and weights are fetched before, and not timed. Printed: seconds
of each rule, all of its jobs together, as Snakemake measures them; of the whole, by the clock; samples a second of each
person's fine-tuning, as its curves have it; and frames a second: from the drivers' mp4 to the avatars', by the clock,
where all renderings are made once more, with the start of Snakemake and of all jobs; and of render alone once it has
started, as its logs say, with one core for each job.

Takes as long as both demos, 10 to 17 minutes on two free cores with --preset mini (the constant family, fine-tuned),
less with --preset warping (nothing is trained). The last commit before training and driving were made faster is
cc00281; it has the same requirements as today, so that today's environment builds it. Commit 0ff22f7
(docs/experiments/before-regrouping.md) cannot be built by it: it needs mediapipe 0.10.21 and numpy 1, and another
configuration.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import av
import pandas as pd
from house import checkout

ROOT = Path(__file__).resolve().parent.parent
PRESETS = {
    "mini": ["model={preset: mini}", "meta={name: mini, preset: mini, source: bundled}", "finetune={preset: mini}"],
    "warping": [],
}
"""What is changed of the shipped configuration."""

DRIVING = ("decode", "crop", "render", "mark")
"""Rules between a driver's video and the avatar's; no other is run when all renderings are made once more."""

LOOP = re.compile(r"^render .*?(\d+)/\1 \[.*, *([\d.]+) *frames/s\]$", re.MULTILINE)
"""What a rendering says of itself at its end: frames, and how many a second."""


@dataclass(frozen=True)
class Build:
    """What a build took.

    Attributes:
        whole: seconds by the clock.
        jobs: columns rule, job (<identity>, <driver>, <identity>/<driver> or the like) and s.
        frames: of each rendering, by <identity>/<driver>.
        again: seconds of all renderings once more, from the drivers' videos, by the clock.
        rates: of some renderings or all: frames, and frames a second once it had started.
        samples: a second in fine-tuning of each person, median over the steps; {} where nothing was trained.
    """

    whole: float
    jobs: pd.DataFrame
    frames: dict[str, int]
    again: float
    rates: list[tuple[int, float]]
    samples: dict[str, float]

    def rules(self) -> pd.Series:
        """Seconds by rule, in the order in which their first jobs ended."""
        return self.jobs.groupby("rule", sort=False)["s"].sum()

    def frames_a_second(self) -> float:
        """From the drivers' mp4 to the avatars', all pairs together."""
        return sum(self.frames.values()) / self.again

    def steady_rate(self) -> float:
        """Frames a second of render alone, once it has started; NaN where no log says it."""
        seconds = sum(frames / rate for frames, rate in self.rates)
        return sum(frames for frames, _ in self.rates) / seconds if seconds else float("nan")


def snakemake(folder: Path, *arguments: str) -> None:
    """Run it in a checkout, whose package all of its jobs import; ends with its last words where it fails."""
    command = [sys.executable, "-m", "snakemake", *arguments]
    search = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    environment = os.environ | {"PYTHONPATH": str(folder), "PATH": search}
    done = subprocess.run(command, cwd=folder, env=environment, text=True, capture_output=True, check=False)
    if done.returncode:
        sys.exit(f"error: {' '.join(command[1:])}, in {folder.name}\n{done.stdout[-2000:]}{done.stderr[-4000:]}")


def build(folder: Path, cores: int, changes: list[str]) -> Build:
    """Fetch what the demo of a checkout needs, then build it."""
    if (ROOT / "resources").is_dir():
        shutil.copytree(ROOT / "resources", folder / "resources")
    options = ["--cores", str(cores), *(["--config", *changes] if changes else [])]
    snakemake(folder, "fetch_all", *options)
    began = time.perf_counter()
    snakemake(folder, *options)
    whole, jobs, frames = time.perf_counter() - began, read_jobs(folder), count_frames(folder)
    return Build(whole, jobs, frames, drive_again(folder, frames, options), read_rates(folder), read_samples(folder))


def read_jobs(folder: Path) -> pd.DataFrame:
    """What Snakemake measured of all jobs but those that fetch."""
    measured = folder / "results" / "benchmarks"
    rows = []
    for path in sorted(measured.rglob("*.tsv"), key=lambda path: path.stat().st_mtime):
        rule, *names = path.relative_to(measured).with_suffix("").parts
        rows.append((rule, "/".join(names), float(pd.read_table(path)["s"].sum())))
    jobs = pd.DataFrame(rows, columns=["rule", "job", "s"])
    return jobs[jobs["rule"] != "fetch"]


def count_frames(folder: Path) -> dict[str, int]:
    """Frames of every rendering of an avatar alone."""
    found = {}
    for path in sorted((folder / "results" / "renders").glob("*/*.mp4")):
        if "." not in path.stem:  # not <driver>.side_by_side.mp4
            with av.open(str(path)) as video:
                found[f"{path.parent.name}/{path.stem}"] = sum(1 for _ in video.decode(video=0))
    return found


def drive_again(folder: Path, frames: dict[str, int], options: list[str]) -> float:
    """Seconds of decode, crop, render and mark of all drivers, by the clock, with the start of Snakemake."""
    results = folder / "results"
    identities, drivers = (sorted(set(names)) for names in zip(*(pair.split("/") for pair in frames), strict=True))
    made = [results / "renders" / name for name in identities] + [results / "unsigned" / name for name in identities]
    for folder_made in [*made, *(results / "clips" / name for name in drivers)]:
        shutil.rmtree(folder_made, ignore_errors=True)
    began = time.perf_counter()
    wanted = [f"results/renders/{pair}.mp4" for pair in frames]
    snakemake(folder, *options, "--allowed-rules", *DRIVING, "--", *wanted)
    return time.perf_counter() - began


def read_samples(folder: Path) -> dict[str, float]:
    """Samples a second of each person's fine-tuning, as its curves have it: batches of a photo are of one sample."""
    curves = {path: pd.read_csv(path) for path in sorted((folder / "results" / "avatars").glob("*/sweep/curves.csv"))}
    trained = {path: curve["samples_per_second"] for path, curve in curves.items() if "samples_per_second" in curve}
    return {path.parents[1].name: float(speed.median()) for path, speed in trained.items()}


def read_rates(folder: Path) -> list[tuple[int, float]]:
    """Frames, and frames a second, of the renderings whose logs say so."""
    logs = sorted((folder / "logs" / "render").glob("*/*.log"))
    found = [LOOP.search(log.read_text(encoding="utf-8", errors="replace")) for log in logs]
    return [(int(match[1]), float(match[2])) for match in found if match]


def report(before: Build, after: Build) -> list[str]:
    """Lines of markdown."""
    lines = ["| | before | after | |", "|---|---:|---:|---:|"]
    seconds = pd.DataFrame({"before": before.rules(), "after": after.rules()}).fillna(0.0)
    for rule, row in seconds.iterrows():
        lines.append(_row(str(rule), row["before"], row["after"]))
    both = seconds.reindex(["drive", "score"]).sum()
    lines.append(_row("drive and score", both["before"], both["after"]))
    lines.append(_row("the whole, by the clock", before.whole, after.whole))
    for name, rate in before.samples.items():
        lines.append(_rates(f"fine-tuning of {name}, once started", rate, after.samples[name], "samples"))
    lines.append(_rates("mp4 to mp4, by the clock", before.frames_a_second(), after.frames_a_second()))
    return [*lines, _rates("render, once started", before.steady_rate(), after.steady_rate())]


def _rates(name: str, before: float, after: float, what: str = "frames") -> str:
    return f"| {name} | {before:.1f} {what}/s | {after:.1f} {what}/s | {after / before:.2f}x |"


def _row(name: str, before: float, after: float) -> str:
    ratio = f"{before / after:.2f}x" if before and after else "-"
    return f"| {name} | {before:.1f} s | {after:.1f} s | {ratio} |"


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("old", metavar="OLD", help="commit before")
    parser.add_argument("new", metavar="NEW", nargs="?", default="HEAD", help="commit after (default: HEAD)")
    parser.add_argument("--preset", choices=list(PRESETS), default="mini", help="which demo (default: mini)")
    parser.add_argument("--cores", type=int, default=os.cpu_count(), help="of each build (default: all)")
    arguments = parser.parse_args()
    with ExitStack() as stack:
        folders = [stack.enter_context(checkout(commit)) for commit in (arguments.old, arguments.new)]
        before, after = (build(folder, arguments.cores, PRESETS[arguments.preset]) for folder in folders)
    print("\n".join(report(before, after)))


if __name__ == "__main__":
    main()
