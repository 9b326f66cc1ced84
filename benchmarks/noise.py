"""What the seed alone changes: python benchmarks/noise.py PROJECT [...] [--against PROJECT [...]]

Each PROJECT is the same project built with another seed (results/avatars/*/frame_scores.csv, selected.json). For every
avatar: the errors of the chosen iteration on the check's frames, their mean and two standard deviations over the
projects; with --against, other projects' errors beside them, and whether they lie within. Prints Markdown.
"""

import argparse
import json
from pathlib import Path

import pandas as pd

from reenact.data.sequence import CHECK

ERRORS = ("identity_error", "pose_error", "motion_error")


def chosen_errors(project: Path) -> pd.DataFrame:
    """Errors of each avatar's chosen iteration: rows (avatar, protocol, error), columns iteration and value."""
    rows = []
    for file in sorted(project.glob("results/avatars/*/selected.json")):
        iteration = json.loads(file.read_text(encoding="utf-8"))["iteration"]
        frames = pd.read_csv(file.with_name("frame_scores.csv"), dtype={"model": str})
        frames = frames[(frames["model"] == str(iteration)) & (frames["part"] == CHECK)]
        for protocol, found in frames.groupby("protocol"):
            rows += [(file.parent.name, protocol, name, iteration, found[name].mean()) for name in ERRORS]
    if not rows:
        raise SystemExit(f"{project}: no avatar with selected.json and frame_scores.csv in results/avatars")
    table = pd.DataFrame(rows, columns=["avatar", "protocol", "error", "iteration", "value"]).dropna()
    return table.set_index(["avatar", "protocol", "error"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("projects", nargs="+", type=Path)
    parser.add_argument("--against", nargs="*", type=Path, default=[])
    arguments = parser.parse_args()
    seeds = [chosen_errors(project) for project in arguments.projects]
    values = pd.concat([seed["value"] for seed in seeds], axis=1)
    mean, width = values.mean(axis=1), 2 * values.std(axis=1)
    others = [chosen_errors(project) for project in arguments.against]
    print("| avatar, driven by, error | chosen | " + " | ".join(["mean", "2 std", *map(str, arguments.against)]) + " |")
    print("|" + " --- |" * (4 + len(others)))
    for key in values.index:
        iterations = ", ".join(str(seed.loc[key, "iteration"]) for seed in seeds)
        cells = [f"{mean[key]:.4f}", f"{width[key]:.4f}"]
        for other in others:
            value, iteration = other.loc[key, "value"], other.loc[key, "iteration"]
            within = "within" if abs(value - mean[key]) <= width[key] else "outside"
            cells.append(f"{value:.4f} ({iteration}, {within})")
        print(f"| {', '.join(key)} | {iterations} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
