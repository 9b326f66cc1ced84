"""How far a build is, for a terminal: one bar a stage, redrawn in place; in a file, a line whenever a stage is done."""

import shutil
import sys
import time
from collections.abc import Callable
from typing import TextIO

from reenact.project.build import Build, BuildState, RunningJob

PERIOD = 0.25
"""Between two pictures, s."""
BAR = 20
"""Length of a bar, characters."""
INTERRUPTED = 130
UP = "\x1b[{}F\x1b[J"
"""To the beginning of the line so many lines above, and nothing below it."""


def follow(build: Build, verbose: bool = False, output: TextIO = sys.stdout) -> int:
    """Show a build until it ends; Ctrl+C stops it.

    Args:
        build: to show.
        verbose: show what Snakemake prints, in place of bars.
        output: where.

    Returns:
        Exit status: 0 = done, 1 = failed, 130 = stopped.
    """
    show: Callable[[BuildState, bool], None]
    show = _Listing(build, output) if verbose else _Bars(output) if output.isatty() else _Lines(output)
    stopping = False
    while True:
        try:
            state = build.state()
            show(state, stopping)
            if state.status != "running":
                break
            time.sleep(PERIOD)
        except KeyboardInterrupt:
            stopping = True
            build.stop()
    print("\n".join(last_words(build, state)), file=output)
    return {"done": 0, "stopped": INTERRUPTED}.get(state.status, 1)


def picture(state: BuildState, now: float, width: int) -> list[str]:
    """A build as lines of text: a bar for each stage, and beside it what runs.

    Args:
        state: of the build.
        now: s since 1970.
        width: most characters of a line.
    """
    if not state.stages:
        return [f"planning, {_duration(now - state.started)}"[:width]]
    longest = max(map(len, state.stages))
    lines = []
    for name, stage in state.stages.items():
        running = [job for job in state.jobs if job.stage == name]
        filled = (stage.done + sum(job.fraction or 0 for job in running)) / max(1, stage.total)
        bar = ("█" * int(filled * BAR)).ljust(BAR, "░")
        failed = f"{stage.failed} failed  " if stage.failed else ""
        said = "; ".join(_job(job, now) for job in running[:2]) + (f" and {len(running) - 2} more" * (len(running) > 2))
        lines.append(f"{name:{longest}}  {bar}  {stage.done:>3} of {stage.total:<3}  {failed}{said}".rstrip()[:width])
    logs = ", ".join(job.log for job in state.jobs[:2] if job.log) or state.log
    lines.append(f"{state.done} of {state.total} jobs, {_duration(now - state.started)}; log: {logs}"[:width])
    return lines


def last_words(build: Build, state: BuildState) -> list[str]:
    """What is said of a build at its end."""
    took = _duration((state.ended or time.time()) - state.started)
    if state.status == "stopped":
        return [f"Stopped after {took}; what was made is kept, and the same command goes on."]
    if state.status == "done":
        done = f"{state.done} jobs in {took}" if state.done else "nothing was to do"
        page = build.project.folder / "results" / "report" / "index.html"
        made = ["videos   results/renders/<person>/<driver>.mp4", f"page     {page.relative_to(build.project.folder)}"]
        return [f"Built: {done}.", *(made if page.is_file() else [])]
    lines = ["Not everything was built."] if state.failures else [state.message or f"It failed; {state.log} says why."]
    for failure in state.failures:
        lines += [
            f"  {failure.stage} {failure.of}: {failure.why}",
            *([f"    log: {failure.log}"] if failure.log else []),
        ]
    page = build.project.folder / "results" / "report" / "partial.html"
    if state.failures and page.is_file() and page.stat().st_mtime >= state.started:
        lines.append(f"  The report of what is there: {page.relative_to(build.project.folder)}")
    return lines


class _Bars:
    """A picture in place of the one before."""

    def __init__(self, output: TextIO) -> None:
        self._output, self._drawn = output, 0

    def __call__(self, state: BuildState, stopping: bool) -> None:
        lines = picture(state, state.ended or time.time(), shutil.get_terminal_size().columns - 1)
        lines += ["stopping: jobs that run save what they have"] if stopping and state.status == "running" else []
        print(UP.format(self._drawn) * bool(self._drawn) + "\n".join(lines), file=self._output, flush=True)
        self._drawn = len(lines)


class _Lines:
    """A line for each stage that is done."""

    def __init__(self, output: TextIO) -> None:
        self._output, self._finished = output, set[str]()

    def __call__(self, state: BuildState, stopping: bool) -> None:
        took = _duration((state.ended or time.time()) - state.started)
        for name, stage in state.stages.items():
            if name not in self._finished and stage.done + stage.failed >= stage.total:
                self._finished.add(name)
                print(f"{name}: {stage.done} of {stage.total} ({took})", file=self._output, flush=True)


class _Listing:
    """What Snakemake has printed since the last time."""

    def __init__(self, build: Build, output: TextIO) -> None:
        self._output, self._log = output, build.log.open(encoding="utf-8", errors="replace")

    def __call__(self, state: BuildState, stopping: bool) -> None:
        self._output.write(self._log.read())
        self._output.flush()


def _job(job: RunningJob, now: float) -> str:
    """What is said of a job that runs."""
    if job.waiting:
        return f"{job.of} waits"
    words = [job.of]
    if job.fraction is not None:
        words[0] += f" {job.fraction:.0%}"
    if job.rate:
        words.append(f"{job.rate:.3g} {job.unit}s/s")
    left = job.seconds_left
    words.append(f"{_duration(now - job.started)}" if left is None else f"{_duration(left)} left")
    return ", ".join(words)


def _duration(seconds: float) -> str:
    """0:05, 12:30 or 1:02:03."""
    minutes, seconds = divmod(round(max(0.0, seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}" if hours else f"{minutes}:{seconds:02d}"
