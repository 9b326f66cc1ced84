"""Write docs/results.md from results: python benchmarks/results.py [--people runs/validation_people] [--training RUN]

Without arguments the part about the demo, from `make demo`; with --people the part about the people of a project folder
(benchmarks/validation_people.yaml says how to make it), every avatar scored with every driver it is rendered with; with
--training the part about how a meta-model learned, from its run folders. Each leaves the other parts as they are.
"""

import argparse
import json
from pathlib import Path

import pandas as pd
import yaml

from reenact.evaluation.measure import NETWORKS
from reenact.settings.score import ScoreSettings
from reenact.tools.score_table import Plan, score_table

RESULTS, DOCS = Path("results"), Path("docs")
COLUMNS = [
    "identity_error",
    "csim",
    "pose_error",
    "aligned_error",
    "motion_error",
    "mouth_correlation",
    "blink_correlation",
    "psnr",
    "ssim",
    "perceptual",
    "matte_iou",
    "sharpness",
    "jitter",
    "failed",
]
PEOPLE_COLUMNS = [
    "identity_error",
    "csim",
    "pose_error",
    "aligned_error",
    "motion_error",
    "mouth_correlation",
    "sharpness",
    "jitter",
    "failed",
]
TRAINING_HEADING = "\n# How the bundled meta-model learned\n"
PEOPLE_HEADING = "\n# Six people, each driven by two others\n"
NAMES = {
    "0": "0: meta-model, no fine-tuning",
    "mean_image": "*mean image of the person*",
    "driver_frame": "*the driver's own frame*",
    "real_frames": "*the true frame (floor)*",
}
INTRODUCTION = """\
# Results of the demo, fine-tuned

Made by `make demo`, with `model`, `meta` and `finetune` of `config.yaml` at `preset: mini`, and then `python
benchmarks/results.py`, on the CPU: 128 px, the bundled meta-model of the constant family ([how it was
trained](experiments/bundled-model.md)), which learned from nobody of the demo. Both people are validation people:
settings of fine-tuning and the rule of the choice were developed on them, among others. *Held-out* frames are the last
40 % of the woman's clip, which no training sees. The cross driver is `carphone`, who moves (`single_face` hardly does);
he was chosen for that before any score was seen.

Lower is better, but for CSIM, the correlations, PSNR, SSIM, matte IoU and sharpness.

- *identity error*: 1 - mean cosine of face descriptors to the person's training frames ({descriptor}).
- *pose error*: mean distance of 68 landmarks to those of the true frame / outer-eye distance. Landmarks:
  {landmark_detector}. The same detector was the teacher of the pose encoder's pretraining, so another one may find
  larger errors.
- *aligned error*: the same after the best turn, scale and shift. *motion error*: the pose error after each face's own
  mean shape is taken away (a still picture scores the driver's amount of motion). Differences of under about 0.01 in
  pose and motion error are noise of the landmarks at this size.
- *mouth*, *blink correlation*: of their opening with the driver's.
- PSNR, SSIM and perceptual distance ({perceptual_network}) are taken in the box of the true matte.
- *sharpness*: fine detail / that of the training frames. *jitter*: landmark acceleration / the driver's. *failed*:
  share of outputs in which no face was found; they are left out of the others.

The iteration is chosen on half of the frames (short stretches in turn); all tables are of the other half.
"""


def table(scores: pd.DataFrame, chosen: str) -> str:
    """A Markdown table: one row a model."""
    known = [name for name in COLUMNS if scores[name].notna().any()]
    lines = [
        "| iteration | " + " | ".join(name.replace("_", " ") for name in known) + " |",
        "|" + " --- |" * (len(known) + 1),
    ]
    for _, row in scores.iterrows():
        name = NAMES.get(row.model, row.model) + (" **(chosen)**" if row.model == chosen else "")
        cells = ["-" if pd.isna(row[c]) else f"{row[c]:.2f}" if c == "psnr" else f"{row[c]:.3f}" for c in known]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def checked(check: dict | None) -> str:
    """The check of a choice in words."""
    if not check:
        return ""
    return (
        f"\nOn the frames that took no part in the choice: identity error {check['identity_error']:.3f} "
        f"({check['identity_regret']:.3f} above the least of the sweep), pose error {check['pose_error']:.3f} "
        f"({check['pose_regret']:.3f} above the least).\n"
    )


def people(project: Path) -> str:
    """The part about a project folder: its avatars, each scored with every driver that it is rendered with."""
    config = yaml.safe_load((project / "config.yaml").read_text())
    table, results = project / "pairs.csv", project / "results"
    files = [
        (
            f"avatars/{i}/model.safetensors",
            f"clips/{i}/crops.zip",
            f"clips/{i}/mattes.zip",
            f"clips/{d}/crops.zip",
            f"clips/{d}/mattes.zip",
        )
        for i, d in config["pairs"]
    ]
    names = ["model", "identity_crops", "identity_mattes", "driver_crops", "driver_mattes"]
    pd.DataFrame([[f"results/{file}" for file in row] for row in files], columns=names).to_csv(table, index=False)
    settings = ScoreSettings(descriptor_weights=str(project / ScoreSettings().descriptor_weights))
    score_table(
        table=table,
        scores=results / "table.csv",
        summary=results / "table_summary.csv",
        plan=Plan(baselines=True),
        settings=settings,
    )
    scores = pd.read_csv(results / "table.csv", dtype={"baseline": str}, keep_default_na=True)
    lines = [
        PEOPLE_HEADING,
        f"\nMade by the commands in benchmarks/{project.name}.yaml: 128 px, the bundled meta-model, which learned from "
        "none of them; 32 frames a row. They are validation people: settings of fine-tuning were chosen on some.\n",
    ]
    networks = scores[NETWORKS].dropna().iloc[0]
    lines += [f"Descriptor: {networks['descriptor']}. Landmarks: {networks['landmark_detector']}. Metrics as above.\n"]
    known = [name for name in PEOPLE_COLUMNS if scores[name].notna().any()]
    lines += [
        "\n| avatar | iteration | driven by | " + " | ".join(name.replace("_", " ") for name in known) + " |\n",
        "|" + " --- |" * (len(known) + 3) + "\n",
    ]
    for row in scores[scores["baseline"].isna()].itertuples():
        identity, driver = (
            Path(row.model).parent.name,
            Path(row.driver_crops).parent.name if row.protocol == "cross" else "itself, held out",
        )
        chosen = json.loads((results / "avatars" / identity / "selected.json").read_text())
        lines.append(f"| {identity} | {chosen['iteration']} | {driver} | {cells(row, known)} |\n")
    summary = pd.read_csv(results / "table_summary.csv", dtype={"baseline": str})
    for (baseline, protocol), part in summary.groupby([summary["baseline"].fillna(""), "protocol"], sort=False):
        figures = part.set_index("metric")
        spread = {c: "" if pd.isna(figures["std"][c]) else f" ± {figures['std'][c]:.3f}" for c in figures.index}
        shown = [f"{figures['mean'][c]:.3f}{spread[c]}" if c in figures.index else "-" for c in known]
        name = NAMES.get(baseline, "**mean ± standard deviation of the avatars**")
        lines.append(f"| {name} | | {'others' if protocol == 'cross' else 'itself'} | {' | '.join(shown)} |\n")
    return "".join(lines)


def training(runs: list[Path]) -> str:
    """The part about a training: validation by step, from the statistics of its run folders."""
    rows: dict[int, dict[str, float]] = {}
    for run in runs:
        lines = [json.loads(line) for line in (run / "stats.jsonl").read_text().splitlines()]
        rows |= {line["step"]: line for line in lines if "validation_pose_error" in line}
    names = [
        "pixel",
        "pose_response",
        *(f"validation_{name}" for name in ("pose_error", "identity_error", "dice", "perceptual", "failed")),
    ]
    lines = [
        TRAINING_HEADING,
        "\nSettings: [how it was trained](experiments/bundled-model.md). Validation: eight of the ten validation "
        "people of the development clips, none of whom it learned from, zero-shot, six frames each, moving average. "
        "*pose error* by their own frames, *identity error* by somebody else's; *pixel*: the training loss of that "
        "step, x 10. Learning rates fall after 4,000; the pose encoder was pretrained a second time at 10,000, and "
        "replaced by a wider one at 24,466, after which batches are of 128, on a GPU (validated on the CPU after). "
        "Made by `python benchmarks/results.py --training RUN...`, of the run folders of all phases.\n",
        "\n| step | "
        + " | ".join(name.replace("_", " ") for name in names)
        + " |\n|"
        + " --- |" * (len(names) + 1)
        + "\n",
    ]
    for step in sorted(rows):
        lines.append(f"| {step} | " + " | ".join(f"{rows[step][name]:.3f}" for name in names) + " |\n")
    return "".join(lines)


def cells(row: tuple, names: list[str]) -> str:
    """Figures of one row, as table cells."""
    return " | ".join("-" if pd.isna(getattr(row, name)) else f"{getattr(row, name):.3f}" for name in names)


def main() -> None:
    """Write the part that is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--people", type=Path, help="project folder whose avatars and pairs are scored")
    parser.add_argument("--training", type=Path, nargs="+", help="run folders of a meta-learning")
    arguments = parser.parse_args()
    page = DOCS / "results.md"
    rest, *people_part = (page.read_text() if page.exists() else "").partition(PEOPLE_HEADING)
    demo_part, *training_part = rest.partition(TRAINING_HEADING)
    parts = [demo_part, "".join(training_part), "".join(people_part)]
    if arguments.people:
        parts[2] = people(arguments.people)
    elif arguments.training:
        parts[1] = training(arguments.training)
    else:
        parts[0] = demo()
    page.write_text("".join(parts))


def demo() -> str:
    """The part about the demo."""
    parts, facts = [], {}
    for folder in sorted((RESULTS / "avatars").iterdir(), reverse=True):
        scores = pd.read_csv(folder / "scores.csv", dtype={"model": str})
        selected = json.loads((folder / "selected.json").read_text())
        facts = {name: scores[name].iloc[0] for name in NETWORKS}
        parts.append(f"\n## {folder.name}\n\n{selected['reason']}\n{checked(selected['check'])}")
        for protocol, rows in scores.groupby("protocol", sort=False):
            driver = "its own held-out frames" if protocol == "self" else "another person"
            parts.append(
                f"\nDriven by {driver} ({rows.frames.max()} frames):\n\n{table(rows, str(selected['iteration']))}"
            )
    return INTRODUCTION.format(**facts) + "".join(parts)


if __name__ == "__main__":
    main()
