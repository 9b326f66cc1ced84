"""Golden numbers: what the stages compute today, kept in fixtures/golden.json, so that a change that alters numbers
shows it in its diff.

`make golden` (or `python tests/support/golden.py`, from the root) makes the file anew; tests/test_golden.py compares
with it. Only stage functions are called, so that a change inside of them leaves this file as it is.
"""

import json
import math
import re
import shutil
import subprocess
import tempfile
import zlib
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import people
import person_clips
import torch
from demo_media import find_media
from tree import ROOT

from reenact.data.clip import Clip, write_clip
from reenact.data.images import resize_area
from reenact.data.training_clips import Clips
from reenact.evaluation.metrics import METRICS
from reenact.media.frame_table import Stretch
from reenact.settings.crop import CropSettings
from reenact.settings.decode import DecodeSettings
from reenact.settings.finetune import FinetuneSettings
from reenact.settings.meta import MetaSettings
from reenact.settings.model import ModelSettings
from reenact.settings.score import ScoreSettings
from reenact.settings.segment import SegmentSettings
from reenact.stages.crop import crop_clip
from reenact.stages.decode import decode_clip
from reenact.stages.finetune import finetune
from reenact.stages.meta import MetaOutputs, make_meta_model
from reenact.stages.score import score_avatar
from reenact.stages.segment import segment_clip
from reenact.training.checkpoint import Runs

KEPT = ROOT / "tests" / "fixtures" / "golden.json"
TOLERANCE = 1e-4
"""Largest difference on another CPU, whose kernels round differently, as a fraction of the largest number of a list."""
HASH = "crc32"
"""Key of what is compared bit by bit only; the statistics beside it say the same with a tolerance."""

TRAINING = {
    "perceptual_width": 0.1,
    "mirror": 0.5,
    "hard_pose_fraction": 0.5,
    "seed": 1,
    "precision": "fp32",
    "losses": {"face_perceptual": 0.5, "pixel": 10.0, "eyes_mouth": 8.0},
}
# Adam turns gradients that are nothing but rounding into whole steps; at usual rates a few of them move the losses
# by 1 % on another CPU.
META_RATES = {"learning_rate": 1e-6, "encoder_rate": 0.001, "discriminator_learning_rate": 1e-5}
FINETUNE_RATES = {"learning_rate": 5e-5, "discriminator_learning_rate": 1e-4}
LOSSES = [
    "adversarial",
    "feature_matching",
    "perceptual",
    "face_perceptual",
    "dice",
    "embedding_match",
    "pixel",
    "eyes_mouth",
    "discriminator",
]
STEPS = 5


def training_losses(folder: Path) -> dict[str, dict[str, list[float]]]:
    """Losses by name of five steps of meta-learning on two synthetic people, and of fine-tuning that to a third."""
    clips = [people.write_person(folder, name, 6, landmarks=True) for name in ("red", "green")]
    outputs = MetaOutputs(
        *(folder / name for name in ("model.safetensors", "curves.csv", "metrics.json", "preview.png"))
    )
    make_meta_model(
        clips=Clips(*zip(*clips, strict=True)),
        outputs=outputs,
        runs=Runs(folder / "meta_runs", code="golden"),
        device="cpu",
        threads=1,
        settings=MetaSettings(**TRAINING, **META_RATES, steps=STEPS, batch_size=3, identity_frames=2),
        model=ModelSettings(preset="small"),
    )
    crops, mattes = people.write_person(folder, "blue", 6, landmarks=True)
    finetune(
        crops=crops,
        mattes=mattes,
        meta=outputs.model,
        sweep=folder / "sweep",
        runs=Runs(folder / "finetune_runs", code="golden"),
        device="cpu",
        threads=1,
        settings=FinetuneSettings(**TRAINING, **FINETUNE_RATES, sweep=[STEPS], max_batch=3),
    )
    curves = {"meta": outputs.curves, "finetune": folder / "sweep" / "curves.csv"}
    tables = {stage: pd.read_csv(path, float_precision="round_trip") for stage, path in curves.items()}
    return {stage: {name: table[name].tolist() for name in LOSSES if name in table} for stage, table in tables.items()}


def crops_and_mattes(folder: Path) -> dict[str, Any]:
    """Tables, landmarks and pictures of ten frames of a driving video."""
    media, frames = find_media("single_face.mp4"), folder / "frames.csv"
    decode_clip(
        media=media,
        frames=frames,
        source=folder / "source.json",
        role="driver",
        stretch=Stretch(end=0.33),
        settings=DecodeSettings(),
        threads=1,
    )
    crop_clip(media=media, frames=frames, crops=folder / "crops.zip", settings=CropSettings(size=128), device="cpu")
    segment_clip(crops=folder / "crops.zip", mattes=folder / "mattes.zip", settings=SegmentSettings(), device="cpu")
    crops, mattes = Clip(folder / "crops.zip"), Clip(folder / "mattes.zip")
    names = crops.table["image"].tolist()
    return {
        "crop_table": crops.table.to_dict("list"),
        "matte_table": mattes.table.to_dict("list"),
        "landmarks": _samples(crops.landmarks()[..., None]),
        "crops": _samples(crops.images(names)),
        "mattes": _samples(mattes.images(names)),
    }


def _samples(arrays: np.ndarray) -> dict[str, list]:
    """Statistics of N arrays of at least two dimensions; crc32 is that of their bytes."""
    grids = [cv2.resize(array.astype(np.float64), (4, 4), interpolation=cv2.INTER_AREA) for array in arrays]
    return {
        "mean": arrays.mean(axis=tuple(range(1, arrays.ndim)), dtype=np.float64).tolist(),
        "std": arrays.std(axis=tuple(range(1, arrays.ndim)), dtype=np.float64).tolist(),
        "grid": [grid.ravel().tolist() for grid in grids],
        HASH: [zlib.crc32(np.ascontiguousarray(array).tobytes()) for array in arrays],
    }


def rendering_scores(folder: Path) -> dict[str, Any]:
    """Every metric of a head that turns too little, is pale, blurred and has a small matte, and of the baselines."""
    size, roles = 64, ["train"] * 3 + ["holdout"] * 6
    truth = person_clips.swaying(6)
    person = person_clips.write_person(
        folder / "person", [person_clips.portrait(turn=turn) for turn in (-6, 0, 6)] + truth, roles
    )
    # Another head: mirrored and with other colours, but the same movement.
    driver = person_clips.write_person(folder / "driver", [255 - frame[:, ::-1] // 2 for frame in truth], ["drive"] * 6)
    rows = []
    with write_clip(folder / "driven.zip") as writer:
        for protocol, first in (("self", 3), ("cross", 0)):
            for step, (frame, matte) in enumerate(_distorted(truth, size)):
                name = f"{protocol}/{step}"
                writer.add(f"{name}.png", frame)
                writer.add(f"{name}.matte.png", matte)
                rows.append([f"{name}.png", f"{name}.matte.png", protocol, 10, first + step, step / 25, 0])
        writer.finish(pd.DataFrame(rows, columns=["image", "matte", "protocol", "iteration", "index", "time", "run"]))
    weights = find_media(person_clips.WEIGHTS.name, "weights")
    score_avatar(
        driven=folder / "driven.zip",
        identity_crops=person[0],
        identity_mattes=person[1],
        driver_crops=driver[0],
        driver_mattes=driver[1],
        scores=folder / "scores.csv",
        frame_scores=folder / "frame_scores.csv",
        settings=ScoreSettings(
            descriptor_weights=str(weights), reference_frames=2, identity_frames=2, perceptual_width=0.1
        ),
    )
    scores = pd.read_csv(folder / "scores.csv")[["protocol", "model", "frames", *METRICS]]
    frames = pd.read_csv(folder / "frame_scores.csv")[
        ["protocol", "model", "index", "failed", "identity_error", "pose_error", "motion_error"]
    ]
    return {"means": scores.to_dict("list"), "frames": frames.to_dict("list")}


def _distorted(frames: list[np.ndarray], size: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """What an avatar might make of some frames: size x size pictures on black, and their mattes."""
    matrix = cv2.getRotationMatrix2D((128, 128), 3, 0.97)
    matte = resize_area(cv2.warpAffine(person_clips.oval(), matrix, (256, 256))[None], size)[0]
    made = []
    for step, frame in enumerate(frames):
        follows = cv2.addWeighted(frame, 0.8, frames[max(step - 1, 0)], 0.2, 10)
        moved = cv2.GaussianBlur(
            cv2.warpAffine(follows, matrix, (256, 256), borderMode=cv2.BORDER_REFLECT), (0, 0), 1.5
        )
        small = resize_area(moved[None], size)[0]
        made.append((np.rint(small * (matte[..., None] / 255)).astype(np.uint8), matte))
    return made


def shipped_plan(folder: Path) -> list[str]:
    """The jobs that the shipped config.yaml plans in an empty folder: rule and wildcards, sorted."""
    shutil.copy(ROOT / "config.yaml", folder)
    command = [
        "snakemake",
        "--snakefile",
        str(ROOT / "Snakefile"),
        "--directory",
        str(folder),
        "--cores",
        "1",
        "--dry-run",
    ]
    done = subprocess.run(command, cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=120)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed:\n{done.stdout}")
    jobs = re.findall(r"^(?:local)?rule (\w+):\n((?:    .*\n)*)", done.stdout, re.M)
    wildcards = [re.search(r"^    wildcards: (.*)$", details, re.M) for _, details in jobs]
    return sorted(f"{rule} {found[1]}" if found else rule for (rule, _), found in zip(jobs, wildcards, strict=True))


PARTS = {"losses": training_losses, "footage": crops_and_mattes, "scores": rendering_scores, "plan": shipped_plan}


def compute(part: str, folder: Path) -> Any:
    """One part of the golden numbers, as it comes back from JSON (NaN is null); `folder` is for files in between."""
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        return json.loads(json.dumps(_plain(PARTS[part](folder)), allow_nan=False))
    finally:
        torch.set_num_threads(threads)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return None if isinstance(value, float) and math.isnan(value) else value


def differences(kept: Any, made: Any, exact: bool, where: str = "") -> list[str]:
    """In words, where two parts differ: [] if nowhere.

    Args:
        kept, made: from golden.json and of now.
        exact: bit by bit, hashes included; else numbers may differ by TOLERANCE.
        where: name of the part, for the words.
    """
    if isinstance(kept, dict) and isinstance(made, dict):
        keys = [key for key in kept if key in made and (exact or key != HASH)]
        missing = [
            f"{where}.{key}: only {'in golden.json' if key in kept else 'made now'}"
            for key in sorted(kept.keys() ^ made.keys())
        ]
        return missing + [text for key in keys for text in differences(kept[key], made[key], exact, f"{where}.{key}")]
    if kept == made:
        return []
    if isinstance(kept, list) and isinstance(made, list) and len(kept) == len(made):
        if any(isinstance(item, list) for item in kept):
            return [
                text
                for row, pair in enumerate(zip(kept, made, strict=True))
                for text in differences(*pair, exact, f"{where}[{row}]")
            ]
        if not exact and _close(kept, made):
            return []
    return [f"{where}:\n  was {kept}\n  is  {made}"]


def _close(kept: list, made: list) -> bool:
    """Whether all numbers of a list are within the tolerance; everything else has to be equal."""
    largest = max((abs(item) for item in kept if isinstance(item, int | float)), default=0)
    return all(
        abs(a - b) <= TOLERANCE * largest if isinstance(a, float) and isinstance(b, int | float) else a == b
        for a, b in zip(kept, made, strict=True)
    )


def main() -> None:
    """Write golden.json."""
    parts = {}
    for part in PARTS:
        with tempfile.TemporaryDirectory() as folder:
            parts[part] = compute(part, Path(folder))
    text = json.dumps(parts, indent=1)
    # One line for each short list: readable in a diff.
    text = re.sub(
        r"\[[^\[\]{}]*\]", lambda found: re.sub(r"\n +", " ", found[0]) if len(found[0]) < 1000 else found[0], text
    )
    KEPT.write_text(text + "\n", encoding="utf-8")
    print(f"{KEPT}: {KEPT.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
