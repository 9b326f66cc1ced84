"""Settings of stage `mark`: what renderings say about themselves."""

from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field, ValidationInfo, field_validator

from reenact.settings.base import Section

Consent = Literal["own", "written", "public-domain", "fictional"]

EMBEDDING = {"enabled", "watermark_key", "label"}
"""Settings that change pictures: stage `render` has to know them; all others change only what is written behind it."""


class MarkSettings(Section):
    """Watermark and Content Credentials of everything that is rendered: docs/provenance.md."""

    section: ClassVar[str] = "mark"

    enabled: bool = Field(
        default=True,
        description="Put a watermark into the frames and signed Content Credentials into the files. The law of many "
        "places asks for it; the report says where it was left out.",
    )
    certificate: str | None = Field(
        default=None,
        description="Certificates in PEM, the signer's first, then those above it; null = a key of your own, which is "
        "made once for each user.",
    )
    key: str | None = Field(
        default=None, description="File of the certificate's private key, in PEM without a password; null, as above."
    )
    time_stamp: str | None = Field(
        default=None,
        pattern=r"^https?://",
        description="Address of a time stamp authority (RFC 3161), which proves when a file was signed; null = none, "
        "and no network.",
    )
    watermark_key: str | None = Field(
        default=None,
        description="A file whose text is the key of the watermark; null = the public key, with which anybody can read "
        "it.",
    )
    label: str = Field(
        default="",
        max_length=60,
        pattern=r"^[ -~]*$",
        description='Text that is seen in a corner of every frame, such as "synthetic"; empty = none.',
    )
    names: bool = Field(
        default=False, description="Say in the credentials what the identity and the driver are called in config.yaml."
    )

    @field_validator("key")
    @classmethod
    def _both(cls, key: str | None, info: ValidationInfo) -> str | None:
        certificate = info.data.get("certificate")
        if (key is None) != (certificate is None):
            raise ValueError("must be given together with mark.certificate, or neither")
        return key

    def signing_files(self) -> dict[str, Path]:
        """Setting -> the file that it names and that signing reads."""
        return {name: Path(value) for name in ("certificate", "key") if (value := getattr(self, name))}

    def embedding_files(self) -> dict[str, Path]:
        """Setting -> the file that it names and that rendering reads."""
        return {"watermark_key": Path(self.watermark_key)} if self.watermark_key else {}
