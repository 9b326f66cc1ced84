"""What pages show of avatars: the iterations of a sweep on the same frames of a driver, which was chosen, and why."""

import json
from functools import lru_cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd

from reenact.data.clip import Clip
from reenact.data.sequence import spread
from reenact.evaluation.sweep import sweep_models
from reenact.reporting.pictures import jpeg
from reenact.runtime.errors import UserError
from reenact.settings.workflow import Config
from reenact.studio.views import AvatarView, Take

SHOWN = 5
"""Frames of the driver on which iterations are shown."""
SIDE = 192


def avatar_view(results: Path, config: Config, name: str) -> AvatarView:
    """What there is of an avatar."""
    folder, driver = results / "avatars" / name, config.cross_driver(name) if config.drivers else ""
    selected, scores = _json(folder / "selected.json"), _errors(folder / "sweep.csv")
    pictures, driven = _pictures(folder / "driven.zip", results / "clips" / driver / "crops.zip")
    iteration = selected.get("iteration")
    takes = [
        Take(number, number == iteration, pictures.get(number, []), *scores.get(number, (None, None)))
        for number in iterations(results, name)
    ]
    built = (folder / "model.safetensors").is_file()
    return AvatarView(name, built, iteration, selected.get("chosen_by"), selected.get("reason"), driver, driven, takes)


def iterations(results: Path, name: str) -> list[int]:
    """The iterations of an avatar's sweep; none before stage finetune."""
    try:
        return list(sweep_models(results / "avatars" / name / "sweep"))
    except UserError:
        return []


def _json(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def _errors(path: Path) -> dict[int, tuple[float | None, float | None]]:
    """Identity and pose error of each iteration."""
    if not path.is_file():
        return {}
    table = pd.read_csv(path)
    columns = [
        table[name] if name in table else table["iteration"] * np.nan for name in ("identity_error", "pose_error")
    ]
    pairs = zip(table["iteration"], *columns, strict=True)
    return {int(number): (_known(identity), _known(pose)) for number, identity, pose in pairs}


def _known(value: float) -> float | None:
    return float(value) if pd.notna(value) else None


def _pictures(driven: Path, crops: Path) -> tuple[dict[int, list[str]], list[str]]:
    """Pictures of each iteration on a few frames of the driver, and the driver's own."""
    if not driven.is_file() or not crops.is_file():
        return {}, []
    return _decoded(driven, driven.stat().st_mtime_ns, crops, crops.stat().st_mtime_ns)


@lru_cache(maxsize=16)
def _decoded(driven: Path, age: int, crops: Path, crops_age: int) -> tuple[dict[int, list[str]], list[str]]:
    clip, driver = Clip(driven), Clip(crops)
    cross = clip.table[clip.table["protocol"] == "cross"]
    shown = sorted(cross["index"].unique())
    shown = [shown[place] for place in spread(len(shown), SHOWN)]
    cross = cross[cross["index"].isin(shown)].sort_values(["iteration", "index"])
    pictures = {
        int(number): [_small(clip.image(image)) for image in rows["image"]]
        for number, rows in cross.groupby("iteration")
    }
    own = driver.table.set_index("index")["image"].astype(str)
    return pictures, [_small(driver.image(own[index])) for index in shown if own.get(index)]


def _small(image: np.ndarray) -> str:
    side = min(SIDE, image.shape[0])
    return jpeg(cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA))
