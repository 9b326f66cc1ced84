"""What happens in a run of the workflow, as lines of JSON: written inside Snakemake, read by whoever shows it."""

import json
import logging
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FILE = "REENACT_EVENTS"
"""Environment variable that names the file of a run's events."""

GATHERING = ("all", "fetch_all")
"""Rules that make nothing themselves."""


@dataclass(frozen=True)
class Event:
    """Something that happened.

    Attributes:
        number: 1, 2, ... within a build.
        time: s since 1970.
        kind: started, running, planned, job, finished, failed, message, or ended.
        values: what is known of it, as JSON has it (`reenact.project.build` reads them).
    """

    number: int
    time: float
    kind: str
    values: dict[str, Any]


def write_event(path: Path, kind: str, **values: Any) -> None:
    """Add an event at the end of a file."""
    line = json.dumps({"time": round(time.time(), 3), "kind": kind, **values}, default=str) + "\n"
    # One write is one line, whichever threads write.
    file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        os.write(file, line.encode())
    finally:
        os.close(file)


def read_events(path: Path, after: int = 0) -> list[Event]:
    """Events of a file whose numbers are above `after`; a last line that is still being written is left out."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError:
        return []
    events = []
    for number, line in enumerate(text.split("\n")[:-1], 1):
        if number > after:
            values = json.loads(line)
            events.append(Event(number, values.pop("time"), values.pop("kind"), values))
    return events


def event_of(record: logging.LogRecord) -> tuple[str, dict[str, Any]] | None:
    """What a record of Snakemake's log tells us; None = nothing that we show."""
    kind = str(getattr(record, "event", None) or "")
    said = vars(record)
    if kind == "run_info":
        jobs = {rule: count for rule, count in said.get("stats", {}).items() if rule not in ("total", *GATHERING)}
        return "planned", {"stages": jobs}
    if kind == "job_info" and said["rule_name"] not in GATHERING:
        about = {"of": _about(said["log"], said["wildcards"]), "log": next(iter(said["log"]), None)}
        return "job", {"job": said["jobid"], "stage": said["rule_name"], **about}
    if kind == "job_finished":
        return "finished", {"job": said["job_id"]}
    if kind == "job_error":
        return "failed", {"jobs": [said["jobid"]]}
    if kind == "group_error":
        return "failed", {"jobs": [info["jobid"] for info in said["job_error_info"]]}
    if kind == "error":
        return "message", {"text": record.getMessage()}
    return None


def _about(log: list[str], wildcards: Any) -> str:
    """What a job is about, as its log is called: a clip, an identity, or such as `anna/speech`."""
    parts = Path(log[0]).with_suffix("").parts if log else tuple(map(str, dict(wildcards).values()))
    return "/".join(parts[2:] if log else parts)
