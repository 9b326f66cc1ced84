"""Reading configuration files."""

from collections.abc import Iterable, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from reenact.runtime.errors import UserError
from reenact.settings.problems import problems_of
from reenact.settings.reading import explain, report
from reenact.settings.workflow import Config


def load_config(values: dict[str, Any], source: str = "the configuration", repeated: Sequence[str] = ()) -> Config:
    """Validate a configuration as read from YAML, and what its parts say about each other and about files.

    Args:
        values: the mapping.
        source: what to name in the message.
        repeated: problems that only the text of the files shows (`repeated_keys`).

    Raises:
        UserError: one message with every problem: the key, the value, what is allowed, and the likely typo.
    """
    config, problems = examine(values)
    problems = [*repeated, *problems]
    if config is None or problems:
        raise UserError(report(source, problems))
    return config


def examine(values: dict[str, Any], folder: Path = Path(), unfinished: bool = False) -> tuple[Config | None, list[str]]:
    """A configuration, of which what is wrong is left out, and one line for everything that is wrong.

    Args:
        values: as read from YAML.
        folder, unfinished: see `problems_of`.

    Returns:
        None in place of the configuration where too little is right.
    """
    problems: list[str] = []
    config, rest = None, values
    while config is None:
        try:
            config = Config.model_validate(rest)
        except ValidationError as error:
            problems += explain(Config, error)
            # What is wrong is left out, so that one message can also say what the rest gets wrong.
            places = [d["loc"][:-1] if d["type"] == "missing" else d["loc"] for d in error.errors()]
            if () in places:
                break
            rest = _without(rest, places)
    if config:
        problems += problems_of(config, folder, unfinished)
    return config, problems


def _without(values: dict[str, Any], places: list[tuple[Any, ...]]) -> dict[str, Any]:
    """A copy of nested settings without the innermost key that each place leads to."""
    rest = deepcopy(values)
    for place in places:
        inner, above, key = rest, None, None
        for part in place:
            if isinstance(inner, dict) and part in inner:
                inner, above, key = inner[part], inner, part
        if above is not None:
            above.pop(key, None)
    return rest


def repeated_keys(paths: Iterable[Path]) -> list[str]:
    """Keys that stand twice in one mapping of a YAML file, which YAML would settle by silently taking the last.

    Returns:
        One line for each.

    Raises:
        UserError: a file is not YAML.
    """
    found = []
    for path in paths:
        try:
            root = yaml.compose(Path(path).read_text(encoding="utf-8"))
        except (OSError, yaml.YAMLError) as error:
            raise UserError(f"{path}: cannot be read as YAML ({error})") from None
        found += [f"{key}: stands twice in {path}; names must differ" for key in _repeated(root, "")]
    return found


def _repeated(node: yaml.Node | None, prefix: str) -> list[str]:
    if not isinstance(node, yaml.MappingNode):
        return []
    found, seen = [], set()
    for key, value in node.value:
        name = f"{prefix}{key.value}"
        if name in seen:
            found.append(name)
        seen.add(name)
        found += _repeated(value, f"{name}.")
    return found
