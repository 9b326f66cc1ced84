"""The API of builds, and the events by which pages see how far they are."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import asdict
from pathlib import Path as File
from typing import Annotated, Any

from fastapi import APIRouter, Path, Request
from fastapi.responses import PlainTextResponse, StreamingResponse
from pydantic import BaseModel, Field
from starlette.concurrency import run_in_threadpool

from reenact.project.build import Build, BuildState
from reenact.runtime.errors import UserError
from reenact.studio.desk import Conflict, Desk, Unknown
from reenact.studio.words import Done, TheDesk

router = APIRouter(prefix="/api", tags=["builds"])
EVERY = 0.5
"""Time between two looks at the build, s."""
ALIVE = 15.0
"""A stream in which nothing happens says so this often, s."""
TAIL = 60_000
"""Characters of a log that are shown, from its end."""


class BuildWish(BaseModel):
    """What to build."""

    targets: list[Annotated[str, Field(pattern=r"^results/[A-Za-z0-9_./-]+$")]] = Field(
        default=[], max_length=100, description="Files below results/; none = everything."
    )


@router.post("/builds", status_code=201)
def start(wish: BuildWish, desk: TheDesk) -> BuildState:
    """Start the workflow. It goes on when the browser, or this server, ends."""
    return begin(desk, wish.targets)


@router.get("/builds/current")
def state(desk: TheDesk) -> BuildState:
    """How far the build is that runs, or how the last one ended."""
    return _current(desk).state()


@router.delete("/builds/current")
def stop(desk: TheDesk) -> Done:
    """Stop it, as Ctrl+C does: jobs save what they have, and the next build goes on from there."""
    build = _current(desk)
    if build.state().status != "running":
        raise Conflict("No build is running.")
    build.stop()
    return Done(done="The build is stopping: jobs save what they have, and the next build goes on from there.")


@router.get("/builds/current/logs/{number}")
def log(number: Annotated[int, Path(ge=0, le=10_000)], desk: TheDesk) -> PlainTextResponse:
    """The end of a log: 0 is the build's own, then those of running jobs, then those of failed ones."""
    logs = logs_of(_current(desk).state())
    if number >= len(logs):
        raise Unknown(f"There are {len(logs)} logs.")
    path = desk.folder / logs[number]
    if not path.is_file() or not path.resolve().is_relative_to(desk.folder.resolve()):
        raise Unknown(f"{logs[number]}: is not written yet")
    return PlainTextResponse(path.read_text(encoding="utf-8", errors="replace")[-TAIL:])


@router.get("/events", response_class=StreamingResponse)
def events(request: Request, desk: TheDesk) -> StreamingResponse:
    """Server-sent events: `build` (a BuildState, or null), and `project` where config.yaml or results changed."""
    return StreamingResponse(_events(request, desk), media_type="text/event-stream")


def begin(desk: Desk, targets: list[str]) -> BuildState:
    """Start a build.

    Raises:
        Conflict: one is running.
        UserError: the configuration has a mistake.
    """
    current = desk.build()
    if current and current.state().status == "running":
        raise Conflict("A build is running already; wait for it, or stop it first.")
    if any(".." in target for target in targets):
        raise UserError("targets: name files below results/")
    return Build.start(desk.project(), targets).state()


def logs_of(state: BuildState) -> list[str]:
    """The logs that pages may show, relative to the project: the build's, then those of running and of failed jobs."""
    logs = [state.log, *(job.log for job in state.jobs), *(job.log for job in state.failures)]
    return [log for log in logs if log]


def _current(desk: Desk) -> Build:
    build = desk.build()
    if build is None:
        raise Unknown("Nothing was built here yet.")
    return build


async def _events(request: Request, desk: Desk) -> AsyncIterator[str]:
    """What changes, and now and then a comment, by which a connection that is gone is noticed."""
    told: dict[str, str] = {}
    silent = ALIVE
    while not await request.is_disconnected():
        found = await run_in_threadpool(_look, desk)
        for kind, text in found.items():
            if told.get(kind) != text:
                told[kind], silent = text, 0.0
                yield f"event: {kind}\ndata: {text}\n\n"
        if silent >= ALIVE:
            silent = 0.0
            yield ": here\n\n"
        silent += EVERY
        await asyncio.sleep(EVERY)


def _look(desk: Desk) -> dict[str, str]:
    """The state of the build, and a number that changes with the project, as JSON in one line."""
    try:
        build = desk.build()
        state = asdict(build.state()) if build else None
    except UserError as error:
        return {"project": json.dumps(str(error))}
    return {"build": json.dumps(state), "project": json.dumps(_age(desk, state))}


def _age(desk: Desk, state: dict[str, Any] | None) -> str:
    """Changes with config.yaml, and with what was finished."""
    file: File = desk.project().file
    counts = [stage["done"] for stage in state["stages"].values()] if state else []
    return f"{file.stat().st_mtime_ns} {sum(counts)} {state and state['status']}"
