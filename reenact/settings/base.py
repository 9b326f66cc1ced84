"""What every settings section shares."""

from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, model_validator

Values = dict[str, Any]
"""Plain settings, as YAML has them; a section inside of another is a dictionary of its own."""

DrivingPrecision = Literal["auto", "fp32", "bf16"]
"""What the network that draws computes in; auto: bf16 where the device has instructions for it, else fp32."""


class Section(BaseModel):
    """A frozen group of settings. Unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    section: ClassVar[str] = ""
    former: ClassVar[dict[str, str]] = {}
    """Keys that were renamed or removed -> what the error says of them: "is now NAME", or "is gone: WHY"."""
    chooser: ClassVar[str] = "preset"
    presets: ClassVar[dict[str, Values]] = {}
    """Value of the field `chooser` -> the settings that it brings along, where nothing else is said of them."""

    @classmethod
    def preset_values(cls, values: Values) -> Values:
        """What the chosen preset brings along; {} where none is chosen."""
        return cls.presets.get(str(values.get(cls.chooser)), {})

    @model_validator(mode="before")
    @classmethod
    def _over_preset(cls, values: Any) -> Any:
        return merged(cls.preset_values(values), values) if isinstance(values, dict) else values


def merged(*layers: Values) -> Values:
    """Nested settings, later ones over earlier ones."""
    result: Values = {}
    for layer in layers:
        for key, value in layer.items():
            both = isinstance(value, dict) and isinstance(result.get(key), dict)
            result[key] = merged(result[key], value) if both else value
    return result
