"""What a run of the workflow could not build, and why: a table for its end, from the logs of the jobs that failed."""

import re
import subprocess
import textwrap
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path

from reenact.cluster.job_log import MARK

LOGS = Path("logs")
LISTED = 5
"""Targets that a row of the table names; the rest is counted."""
WIDTH = 72
"""Of the column that says why, characters."""


@dataclass(frozen=True)
class Target:
    """Something that a run is to build.

    Attributes:
        name: for people, such as `avatar anna`.
        files: what it is made of.
        clips: names of the clips whose chains of jobs lead to it.
    """

    name: str
    files: Sequence[str]
    clips: Collection[str]


@dataclass(frozen=True)
class Failure:
    """A job that failed.

    Attributes:
        stage: its rule.
        of: what it was about, as its log is called: a clip, an identity, or such as `anna/speech`.
        why: its error, in one line.
    """

    stage: str
    of: str
    why: str

    def concerns(self, target: Target, clips: Collection[str]) -> bool:
        """Whether a target hangs on this job: it is about a clip of the target's, or about none of the `clips`."""
        about = set(self.of.split("/"))
        return about <= set(target.clips) or not about & set(clips)


def read_failures(snakemake_logs: Sequence[str | Path]) -> list[Failure]:
    """The jobs that failed in a run, and did not succeed when they were tried again.

    Args:
        snakemake_logs: what Snakemake itself wrote, which names the logs of such jobs.
    """
    text = "\n".join(Path(log).read_text(encoding="utf-8", errors="replace") for log in snakemake_logs)
    named = [Path(name) for names in re.findall(r"^ +log: (.+) \(check log", text, re.M) for name in names.split(", ")]
    found = []
    for log in dict.fromkeys(named):
        if not log.is_relative_to(LOGS) or log.is_relative_to(LOGS / "slurm"):
            continue  # SLURM's own, which are named beside a job's
        stage, *of = log.relative_to(LOGS).with_suffix("").parts
        printed = log.read_text(encoding="utf-8", errors="replace") if log.is_file() else ""
        if not re.search(rf"^{MARK}.*: finished, after [^\n]*\n?\Z", printed, re.M):
            found.append(Failure(stage, "/".join(of), reason(printed)))
    return found


def reason(log: str) -> str:
    """Why a job failed, in one line: its last error, else the last of what it printed, else how it ended.

    Args:
        log: text of its log.
    """
    errors = re.findall(rf"^error: (.*?)(?=^{MARK}|\Z)", log, re.M | re.S)
    if errors:
        return " ".join(errors[-1].split())
    ends = re.findall(rf"^{MARK}\S+ \S+ \w+: (.*), after ", log, re.M)
    printed = [line for line in log.splitlines() if line.strip() and not line.startswith(MARK)]
    return ": ".join([*ends[-1:], *printed[-1:]]) or "it left no log"


def failure_table(failures: Sequence[Failure], targets: Sequence[Target], clips: Collection[str]) -> str:
    """A table: targets that are not there, the failed jobs that they hang on, and why those failed.

    Args:
        failures: see `read_failures`.
        targets: everything that was to be built.
        clips: names of all clips.
    """
    missing = [target for target in targets if not all(Path(file).exists() for file in target.files)]
    rows: dict[tuple[Failure, ...], list[str]] = {}
    for target in missing:
        causes = tuple(failure for failure in failures if failure.concerns(target, clips))
        if causes:  # others were not asked for
            rows.setdefault(causes, []).append(target.name)
    explained = {failure for causes in rows for failure in causes}
    for failure in failures:
        if failure not in explained:
            rows[failure,] = ["nothing, but what was there is old"]
    lines = [("not built", "failed job", "why")]
    for causes, names in rows.items():
        named = names[:LISTED] + ([f"and {len(names) - LISTED} more"] if len(names) > LISTED else [])
        jobs: list[tuple[str, str]] = []
        for failure in causes:
            words = textwrap.wrap(textwrap.shorten(failure.why, 6 * WIDTH, placeholder=" ..."), WIDTH)
            jobs += zip_longest([f"{failure.stage}/{failure.of}"], words, fillvalue="")
        lines += [(name or "", *(job or ("", ""))) for name, job in zip_longest(named, jobs)]
    return _aligned(lines)


def report_what_is_there(inputs: Sequence[str], arguments: Sequence[str], page: Path) -> str:
    """Make the report's page from those of its inputs that exist.

    Args:
        inputs: of rule report.
        arguments: of stage report, beside the page.
        page: to write.

    Returns:
        A line that says where it is, or why there is none.
    """
    if not any(Path(file).exists() for file in inputs):
        return f"{page}: not made, there is nothing to show"
    command = ["python", "-m", "workflow_scripts.report", "--page", str(page), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError as error:
        return f"{page}: could not be made ({error})"
    said = (done.stderr.strip() or f"status {done.returncode}").splitlines()[-1]
    return f"{page}: could not be made ({said})" if done.returncode else f"The report of what is there: {page}"


def _aligned(lines: Sequence[tuple[str, str, str]]) -> str:
    """Lines of three columns, the first one a heading."""
    widths = [max(len(line[column]) for line in lines) for column in range(3)]
    text = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines]
    return "\n".join([text[0], "  ".join("-" * width for width in widths), *text[1:]])
