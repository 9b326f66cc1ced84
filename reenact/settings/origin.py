"""All settings of a section in a row, and where the value of each comes from."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from reenact.settings.base import Section, Values

Path = tuple[str, ...]
"""Keys of one setting, from the outermost."""


@dataclass(frozen=True)
class Setting:
    """One setting of a section: its keys, what it means, its default, and the section that it stands in itself."""

    path: Path
    description: str
    default: Any
    owner: type[Section]

    @property
    def name(self) -> str:
        """As in errors and flags: losses.pixel."""
        return ".".join(self.path)


def settings_of(section: type[Section], above: Path = ()) -> Iterator[Setting]:
    """Every setting of a section, those of the sections inside of it included."""
    for name, field in section.model_fields.items():
        default = field.get_default(call_default_factory=True)
        if isinstance(default, Section):
            yield from settings_of(type(default), (*above, name))
        else:
            yield Setting((*above, name), field.description or "", default, section)


def find(values: Any, path: Path) -> Any:
    """The value at a path of nested settings or of a section.

    Raises:
        KeyError: nothing is said there.
    """
    for key in path:
        if isinstance(values, Section):
            values = getattr(values, key)
        elif isinstance(values, dict):
            values = values[key]
        else:
            raise KeyError(key)
    return values


def says(values: Values, path: Path) -> bool:
    """Whether nested settings say something at a path."""
    try:
        find(values, path)
    except KeyError:
        return False
    return True


def described(settings: Section, sources: dict[str, Values]) -> Iterator[str]:
    """One line a setting: its value and where that comes from.

    Args:
        settings: made of the sources.
        sources: name -> what it says, the strongest last.
    """
    for setting in settings_of(type(settings)):
        origin = [source for source, values in sources.items() if says(values, setting.path)]
        where = origin[-1] if origin else _unsaid(settings, setting.path)
        yield f"{settings.section}.{setting.name}: {json.dumps(find(settings, setting.path))}  ({where})"


def _unsaid(settings: Section, path: Path) -> str:
    """Where a value comes from that nobody says: a preset of the section or of one inside of it, or the default."""
    for depth in range(len(path)):
        owner = find(settings, path[:depth])
        chosen = getattr(owner, owner.chooser, None)
        if says(owner.presets.get(str(chosen), {}), path[depth:]):
            return f"{owner.chooser} {chosen}"
    return "default"
