"""How much worse the choice of stage select is than the best of the sweep: python benchmarks/regret.py PROJECT [...]

Of every avatar of the project folders whose sweep is scored (results/avatars/*/frame_scores.csv). The choice is made on
the frames of selection; regret is its error on the other frames less the least error of the sweep on them, of identity
and of pose apart, so that no single iteration need have none of both. Compared are the rule of today, what the
projects' own selected.json chose (with the code that made them), and always the same index of the sweep. Prints
Markdown.
"""

import argparse
import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pandas as pd

from reenact.evaluation.tradeoff import check, choose, judge
from reenact.settings.select import SelectSettings

SIDES = ("identity_regret", "pose_regret")


@dataclass(frozen=True)
class Sweep:
    """A judged sweep of one person, and the iteration that was chosen when it was made."""

    name: str
    rows: pd.DataFrame
    recorded: int


def read_sweep(folder: Path, identity_weight: float) -> Sweep:
    """Judge the sweep of an avatar's folder."""
    frames = pd.read_csv(folder / "frame_scores.csv", dtype={"model": str, "part": str})
    iterations = sorted({int(model) for model in frames["model"] if model.isdecimal()})
    rows = judge(pd.DataFrame({"iteration": iterations}), frames, identity_weight)
    recorded = json.loads((folder / "selected.json").read_text(encoding="utf-8"))["iteration"]
    return Sweep(folder.name, rows, recorded)


def regrets(sweeps: list[Sweep], rule: Callable[[Sweep], int]) -> pd.DataFrame:
    """What a rule chooses: person, iteration, and the regrets on the check's frames."""
    return pd.DataFrame([{"person": s.name, "iteration": rule(s), **(check(s.rows, rule(s)) or {})} for s in sweeps])


def iteration_at(sweep: Sweep, index: int) -> int:
    """The iteration at an index of the sweep."""
    return int(sweep.rows["iteration"][index])


def summary(rules: dict[str, pd.DataFrame]) -> str:
    """A row a rule: mean, median and worst regret, and how often no training wins."""
    lines = [
        "| rule | identity: mean | median | worst | pose: mean | median | worst | no training |",
        "|" + " --- |" * 8,
    ]
    for name, found in rules.items():
        cells = [f"{found[side].agg(how):.4f}" for side in SIDES for how in ("mean", "median", "max")]
        lines.append(f"| {name} | " + " | ".join(cells) + f" | {(found['iteration'] == 0).sum()} of {len(found)} |")
    return "\n".join(lines)


def by_person(sweeps: list[Sweep], rules: dict[str, pd.DataFrame]) -> str:
    """A row a person: what each rule chooses, with the regret in identity and in pose."""
    lines = ["| person | sweep | " + " | ".join(rules) + " |", "|" + " --- |" * (len(rules) + 2)]
    for index, sweep in enumerate(sweeps):
        rows = [found.iloc[index] for found in rules.values()]
        cells = [f"{r['iteration']}: {r['identity_regret']:.4f}, {r['pose_regret']:.4f}" for r in rows]
        lines.append(f"| {sweep.name} | {', '.join(map(str, sweep.rows['iteration']))} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("projects", nargs="+", type=Path)
    parser.add_argument("--identity-weight", type=float, default=SelectSettings().identity_weight)
    arguments = parser.parse_args()
    folders = [f.parent for p in arguments.projects for f in sorted(p.glob("results/avatars/*/frame_scores.csv"))]
    sweeps = [
        read_sweep(folder, arguments.identity_weight) for folder in folders if (folder / "selected.json").exists()
    ]
    unchecked = [s.name for s in sweeps if s.rows["check_pose_error"].isna().any()]
    sweeps = [s for s in sweeps if s.name not in unchecked]
    if not sweeps:
        parser.error("no scored sweep with frames for a check in results/avatars of these folders")
    compared = {
        "rule": regrets(sweeps, lambda sweep: choose(sweep.rows).iteration),
        "selected.json": regrets(sweeps, lambda sweep: sweep.recorded),
    }
    indices = range(min(len(sweep.rows) for sweep in sweeps))
    always = {
        f"always number {index} of the sweep": regrets(sweeps, partial(iteration_at, index=index)) for index in indices
    }
    print(f"{len(sweeps)} avatars{f', without check: {unchecked}' if unchecked else ''}\n")
    print(summary(compared | always), "", by_person(sweeps, compared), sep="\n")


if __name__ == "__main__":
    main()
