"""What requests and answers have in common: names, errors, and who gets the desk."""

from typing import Annotated

from fastapi import Depends, Path, Request
from pydantic import BaseModel, Field

from reenact.studio.desk import Desk

NAME = r"^[A-Za-z0-9_-]{1,64}$"
"""Of people and drivers: a name becomes a file name."""
Name = Annotated[str, Path(pattern=NAME, description="Name of a person or driver.")]


def desk_of(request: Request) -> Desk:
    """The project that this server is about."""
    desk: Desk = request.app.state.desk
    return desk


TheDesk = Annotated[Desk, Depends(desk_of)]


class Problem(BaseModel):
    """What every refusal says."""

    error: str = Field(description="One sentence, for people.")


class Done(BaseModel):
    """What was done."""

    done: str = Field(description="One sentence, for people.")
    undo: str | None = Field(default=None, description="POST here takes it back.")
