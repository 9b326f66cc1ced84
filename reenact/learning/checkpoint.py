"""Run folders: what a training run needs to go on after it was killed. Not a declared output of the workflow.

A folder is named by a fingerprint of settings, inputs and code, so that the same command goes on where it
stopped and a changed setting never continues an old model.
"""

import hashlib
import json
import os
import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from reenact.errors import UserError
from reenact.files import written_whole

KEPT = 2


def fingerprint(settings: dict[str, Any], inputs: Sequence[Path]) -> str:
    """12 hex digits that depend on the settings and on what is in the input files, not on their names or dates.

    Args:
        settings: plain JSON; include the code's hash.
        inputs: files.
    """
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
    for path in inputs:
        try:
            with path.open("rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
        except OSError as error:
            raise UserError(f"{path}: cannot be read ({error.strerror})") from None
    return digest.hexdigest()[:12]


class RunFolder:
    """Checkpoints and per-step statistics of one training run.

    Args:
        path: the folder; made if missing.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir(parents=True, exist_ok=True)
        self._stats = path / "stats.jsonl"

    def save(self, step: int, state: dict[str, Any]) -> None:
        """Write the checkpoint of `step` and delete all but the last few before it."""
        with written_whole(self._checkpoint(step)) as temporary:
            with temporary.open("wb") as file:
                torch.save(state, file)
                file.flush()
                os.fsync(file.fileno())
        for old in self._steps()[:-KEPT]:
            self._checkpoint(old).unlink()

    def latest(self, most: int) -> tuple[int, dict[str, Any]] | None:
        """Step and state of the newest checkpoint that is not past step `most` and can be read; None without one."""
        for step in reversed([s for s in self._steps() if s <= most]):
            try:
                return step, torch.load(self._checkpoint(step), map_location="cpu", weights_only=True)
            except (OSError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
                print(f"{self._checkpoint(step)}: damaged ({error}); trying the one before")
        return None

    def start_stats(self, step: int) -> None:
        """Drop the statistics of steps after `step`, which are about to be made again."""
        kept = [row for row in self.stats() if row["step"] <= step]
        with written_whole(self._stats) as temporary:
            temporary.write_text("".join(json.dumps(row) + "\n" for row in kept))

    def add_stats(self, row: dict[str, float]) -> None:
        """Append one line of statistics; `row` has a key `step`."""
        with self._stats.open("a") as file:
            file.write(json.dumps(row) + "\n")

    def stats(self) -> list[dict[str, float]]:
        """All lines of statistics; a line cut short by a crash is left out."""
        if not self._stats.exists():
            return []
        lines = self._stats.read_text().splitlines(keepends=True)
        return [json.loads(line) for line in lines if line.endswith("}\n")]

    def _checkpoint(self, step: int) -> Path:
        return self.path / f"checkpoint_{step:08d}.pt"

    def _steps(self) -> list[int]:
        return sorted(int(path.stem.split("_")[1]) for path in self.path.glob("checkpoint_*.pt"))
