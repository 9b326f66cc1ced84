"""Settings of stage `report`."""

from typing import ClassVar

from pydantic import Field

from reenact.settings.base import Section


class ReportSettings(Section):
    """One self-contained HTML page."""

    section: ClassVar[str] = "report"

    title: str = Field(default="reenact", description="Heading of the page.")
    sheet_frames: int = Field(default=12, ge=1, le=100, description="Frames on each contact sheet.")
