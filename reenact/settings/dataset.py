"""Settings of stage `dataset`."""

from typing import ClassVar

from pydantic import Field

from reenact.settings.base import Section


class DatasetSettings(Section):
    """Who is in the meta-learning set (`meta.set`), and who of them only validates."""

    section: ClassVar[str] = "dataset"

    train_split: str | None = Field(
        default=None,
        description="Where meta.set is a folder: a CSV file whose column `path` names the clips to train on "
        "(published: data/splits/train.csv); null = all.",
    )
    validation_split: str | None = Field(
        default=None, description="Likewise, the clips to validate on (published: data/splits/val.csv)."
    )
    validation: float = Field(
        default=0.01,
        ge=0.0,
        lt=1.0,
        description="Fraction of the identities that only validate, rounded up; used where neither a column `split` "
        "nor validation_split says which.",
    )
