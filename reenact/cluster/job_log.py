"""The log of a job: all that its stage printed, and a line of the launcher's at each start and end."""

import re
import time
from pathlib import Path
from typing import TextIO

from reenact.cluster import slurm
from reenact.runtime.errors import NOTHING_SAVED

MARK = "launch: "


def say(output: TextIO, text: str) -> None:
    """Write a line of the launcher's own."""
    print(f"{MARK}{time.strftime('%Y-%m-%d %H:%M:%S')} {text}", file=output, flush=True)


def signature(job: slurm.SlurmJob | None) -> str:
    """A job in the line about its start; `open_log` knows by it whose log it finds."""
    return f", SLURM job {job.number} of run {job.run}, start {job.restarts + 1}" if job else ""


def open_log(path: Path, job: slurm.SlurmJob | None) -> TextIO:
    """Open a log for writing; under SLURM after what earlier starts within the same run of Snakemake left.

    Snakemake deletes a job's log before each of its tries, so there the file has a second, hidden name. Where the last
    start left no word about its end (it was killed at once), what SLURM knows about it is added.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    kept = path.with_name(f".{path.name}")
    former = kept.read_text(encoding="utf-8", errors="replace") if job and kept.is_file() else ""
    if not job or f" of run {job.run}," not in former:
        former = ""
        kept.unlink(missing_ok=True)
    if not job:
        return path.open("w", encoding="utf-8")
    file = kept.open("a", encoding="utf-8")
    try:
        path.hardlink_to(kept)
    except OSError:  # a file system without second names: this start's part is all there is
        file.close()
        kept.unlink()
        file = path.open("w", encoding="utf-8")
    last = former.rstrip().rpartition("\n")[2]
    if former and (not last.startswith(MARK) or ": starts " in last):
        number = re.findall(r"SLURM job (\d+) of run", former)[-1]
        reason = slurm.exit_reason(slurm.query(number))
        say(file, f"the start before, of SLURM job {number}, ended without a word; SLURM: {reason}")
    return file


def no_progress(log: str) -> bool:
    """Whether the last two starts in a log were both asked to stop before they had anything to save."""
    starts = re.split(rf"^{MARK}.*: starts on ", log, flags=re.M)[1:]
    return len(starts) > 1 and all(NOTHING_SAVED in start for start in starts[-2:])
