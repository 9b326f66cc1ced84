"""What every settings section shares."""

from typing import ClassVar

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """A frozen group of settings. Unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    section: ClassVar[str] = ""
    former: ClassVar[dict[str, str]] = {}
    """Keys that were renamed or removed -> what the error says of them: "is now NAME", or "is gone: WHY"."""
