"""Settings of stage `dataset`."""

from typing import ClassVar

from pydantic import Field

from reenact.settings.base import Section


class DatasetSettings(Section):
    """Who is in the meta-learning set (`meta.set`), and who of them only validates."""

    section: ClassVar[str] = "dataset"

    train_split: str | None = Field(
        default=None,
        description="Of a folder: a CSV file whose column `path` names the clips to train on (published: data/splits/train.csv); null = all that are there.",
    )
    validation_split: str | None = Field(
        default=None, description="Of a folder: likewise, the clips to validate on (published: data/splits/val.csv)."
    )
    validation: float = Field(
        default=0.01,
        ge=0.0,
        lt=1.0,
        description="Share of the identities that only validate, where neither a column `split` nor validation_split says which; rounded up.",
    )
