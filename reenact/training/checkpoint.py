"""Run folders: what a training run needs to go on after it was killed. Not a declared output of the workflow.

A folder is named by a fingerprint of settings, inputs and code, so that the same command goes on where it
stopped and a changed setting never continues an old model.
"""

import hashlib
import json
import math
import os
import pickle
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from reenact.runtime.errors import UserError
from reenact.runtime.files import atomic_write, write_text
from reenact.runtime.locks import try_lock

KEPT = 3
"""Last checkpoints that are kept, beside the best by validation."""


def fingerprint(settings: Mapping[str, Any], inputs: Sequence[Path]) -> str:
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


@dataclass(frozen=True)
class Runs:
    """Where the run folders of a stage are.

    Attributes:
        folder: in which they are made.
        code: fingerprint of the stage's code, so that changed code never continues an old run.
    """

    folder: Path
    code: str

    def path(self, name: str, settings: Mapping[str, Any], inputs: Sequence[Path]) -> Path:
        """The run folder of these settings (plain JSON) and input files."""
        return self.folder / f"{name}-{fingerprint({**settings, 'code': self.code}, inputs)}"


class RunFolder:
    """Checkpoints and statistics of one training run.

    Args:
        path: the folder; made if missing.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir(parents=True, exist_ok=True)
        self._stats, self._best, self._metadata = path / "stats.jsonl", path / "best.json", path / "about.json"

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Keep other processes from training in the folder, however this one ends. Of several ranks, only rank 0 locks.

        Raises:
            UserError: another process has it.
        """
        with (self.path / "lock").open("ab") as file:
            try:
                if not try_lock(file):
                    raise UserError(
                        f"{self.path}: another process trains in this run folder; wait until it has ended, or end it"
                    )
            except OSError as error:
                # Some cluster file systems have no locks; Snakemake starts one job a folder, so that work may go on.
                print(f"{self.path}: cannot be locked ({error.strerror}); start no second training in it", flush=True)
            yield

    def save(self, step: int, state: dict[str, Any]) -> None:
        """Write the checkpoint of `step`; then, and only then, delete all before it but the last few and the best.

        Raises:
            UserError: the disk is full; the checkpoints before are as they were.
        """
        with atomic_write(self._checkpoint(step)) as temporary:
            with temporary.open("wb") as file:
                try:
                    torch.save(state, file)
                except RuntimeError as error:
                    # torch reports a failed write as a fault of its own.
                    raise error.__context__ if isinstance(error.__context__, OSError) else error from None
                file.flush()
                os.fsync(file.fileno())
        best = (self.best() or {}).get("step")
        for old in self._steps()[:-KEPT]:
            if old != best:
                self._checkpoint(old).unlink()

    def latest(self, at_most: int = sys.maxsize) -> tuple[int, dict[str, Any]] | None:
        """Step and state of the newest checkpoint that is not past step `at_most` and can be read; None without one."""
        for step in reversed([s for s in self._steps() if s <= at_most]):
            try:
                return step, torch.load(self._checkpoint(step), map_location="cpu", weights_only=True)
            except (OSError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
                print(f"{self._checkpoint(step)}: damaged ({error}); trying the one before")
        return None

    def keep_best(self, step: int, value: float) -> None:
        """Remember the checkpoint of `step` as the best one if its `value` is the least so far."""
        if value < (self.best() or {}).get("value", math.inf):
            write_text(self._best, json.dumps({"step": step, "value": value}))

    def best(self) -> dict[str, float] | None:
        """`step` and `value` of the best checkpoint by validation."""
        return json.loads(self._best.read_text()) if self._best.exists() else None

    def write_metadata(self, metadata: dict[str, Any]) -> None:
        """Write what the run is of: plain JSON, for people and for runs that go on from it."""
        write_text(self._metadata, json.dumps(metadata, indent=1) + "\n")

    def metadata(self) -> dict[str, Any]:
        """What `write_metadata` wrote; {} where nothing was (`import_published`)."""
        return json.loads(self._metadata.read_text()) if self._metadata.exists() else {}

    def start(self, step: int) -> None:
        """Before the steps after `step` are made (again): drop their statistics, and what a dying writer left."""
        for leftover in self.path.glob(".checkpoint_*"):
            leftover.unlink()
        self.copy_stats(self, step)

    def copy_stats(self, other: "RunFolder", step: int) -> None:
        """Have the statistics of another run up to `step`."""
        kept = [row for row in other.stats() if row["step"] <= step]
        write_text(self._stats, "".join(json.dumps(row) + "\n" for row in kept))

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
