"""Settings of stage `select`."""

from typing import ClassVar

from pydantic import Field

from reenact.settings.base import Section


class SelectSettings(Section):
    """Which iteration of the sweep becomes the avatar, where finetune.choose is auto."""

    section: ClassVar[str] = "select"
    former: ClassVar[dict[str, str]] = dict.fromkeys(
        ("max_jitter", "max_failed", "noise", "likeness", "tie"),
        "is gone: errors are compared by their own noise (select.identity_weight alone is left)",
    )

    identity_weight: float = Field(
        default=0.5,
        ge=0,
        le=1,
        description="Weight of the identity error against the pose error, each in units of its noise.",
    )
