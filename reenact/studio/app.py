"""The server: the API and the pages of one project, behind the guard."""

from pathlib import Path

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from fastapi.staticfiles import StaticFiles
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp

import reenact
from reenact.runtime.errors import UserError
from reenact.studio import api_avatars, api_build, api_people, pages
from reenact.studio.desk import Conflict, Desk, Unknown
from reenact.studio.guard import LOOPBACK, Guard
from reenact.studio.uploads import TooManyPixels, WrongType
from reenact.studio.words import Problem

STATIC = Path(__file__).parent / "static"
STATUS: dict[type[UserError], int] = {Unknown: 404, Conflict: 409, WrongType: 415, TooManyPixels: 413, UserError: 422}
ABOUT = """
Everything that the pages do. A request is let in by the token that `reenact studio` prints, as
`Authorization: Bearer TOKEN`. A refusal is `{"error": "one sentence"}`.
"""


def create_app(folder: Path, token: str, hosts: tuple[str, ...] = LOOPBACK, addresses: bool = False) -> ASGIApp:
    """The server of a project.

    Args:
        folder: of the project; it need not be one yet.
        token, hosts, addresses: see `Guard`.
    """

    problems: dict[int | str, dict] = {
        status: {"model": Problem} for status in (401, 403, 404, 409, 413, 415, 421, 422)
    }
    app = FastAPI(
        title="reenact studio",
        version=reenact.__version__,
        description=ABOUT,
        docs_url=None,
        redoc_url=None,
        openapi_url="/api/openapi.json",
        responses=problems,
    )
    app.state.desk = Desk(folder)
    for module in (api_people, api_build, api_avatars, pages):
        app.include_router(module.router)
    app.mount("/static", StaticFiles(directory=STATIC), name="static")
    app.add_exception_handler(UserError, _say)
    app.add_exception_handler(RequestValidationError, _say_invalid)
    app.add_exception_handler(HTTPException, _say_http)
    return Guard(app, token=token, hosts=hosts, addresses=addresses)


async def _say(request: Request, error: Exception) -> Response:
    """A mistake as its sentence."""
    status = next(status for kind, status in STATUS.items() if isinstance(error, kind))
    return _problem(request, status, str(error))


async def _say_invalid(request: Request, error: Exception) -> Response:
    """What does not fit the form that the API asks for: the first of it."""
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    place = ".".join(str(part) for part in first["loc"] if part not in ("body", "path", "query"))
    status = 404 if first["loc"][0] == "path" else 422
    return _problem(request, status, f"{place or 'the request'}: {first['msg'][0].lower()}{first['msg'][1:]}")


async def _say_http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    words = {404: "There is no such page.", 405: "This address does not take that method."}
    return _problem(request, error.status_code, words.get(error.status_code, str(error.detail)))


def _problem(request: Request, status: int, sentence: str) -> Response:
    if not request.url.path.startswith("/api/") and "text/html" in request.headers.get("accept", ""):
        return pages.problem_page(request, status, sentence)
    return JSONResponse({"error": sentence}, status)
