"""The command line of a stage: its files, and one flag for every setting of its section."""

import argparse
import json
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

import yaml

from reenact.runtime.errors import CONTINUE_STATUS, NOTHING_SAVED, InterruptedRun, UserError
from reenact.runtime.interruption import SIGNALS
from reenact.settings.base import Section
from reenact.settings.reading import read

Values = dict[str, Any]


class StageParser(argparse.ArgumentParser):
    """Arguments of one stage. Settings resolve as: default < saved with a checkpoint < --settings < a flag of its own."""

    def __init__(self, description: str | None, *sections: type[Section]) -> None:
        super().__init__(description=description, allow_abbrev=False)
        self._sections = sections
        if sections:
            self.add_argument(
                "--print-settings",
                action="store_true",
                help="print every setting, its value and where that comes from, and stop",
            )
        for section in sections:
            group = self.add_argument_group(f"settings of {section.section}", section.__doc__)
            main = section is sections[0]
            group.add_argument(
                "--settings" if main else f"--{section.section}-settings",
                dest=f"{section.section}/",
                metavar="YAML",
                default="{}",
                help="settings as YAML text, or a file such as config.yaml, whose section is taken",
            )
            prefix = "" if main else f"{section.section}."
            for name, description, default in _flat_fields(section):
                text = f"{description} (default: {default})".replace("%", "%%")
                flag = f"--{prefix}{name}".replace("_", "-")
                group.add_argument(
                    flag, dest=f"{section.section}/{name}", metavar="VALUE", default=argparse.SUPPRESS, help=text
                )

    def add_device_arguments(self) -> None:
        """Where the networks run: --device and --threads."""
        self.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, mps (default: auto)")
        self.add_argument(
            "--threads", type=int, default=0, help="CPU threads; 0 = as many as there are cores (default: 0)"
        )

    def parse(
        self, arguments: Sequence[str] | None = None, saved: Callable[[Values], dict[str, Values]] = lambda values: {}
    ) -> tuple[argparse.Namespace, list[Any]]:
        """Parse a command line.

        Args:
            arguments: None = those of the process.
            saved: what the file and flags say of the first section -> settings of a checkpoint that they name, by section.

        Returns:
            The arguments, and one settings object per section, in the order given.
        """
        arguments = sys.argv[1:] if arguments is None else arguments
        if "--print-settings" in arguments:
            for action in self._actions:
                action.required = False
        parsed = self.parse_args(arguments)
        given = [self._given(section, vars(parsed)) for section in self._sections]
        kept = saved(merged(*given[0].values())) if given else {}
        layers = [
            {"checkpoint": kept.get(section.section, {}), **sources} for section, sources in zip(self._sections, given)
        ]
        settings = [
            read(section, merged(*sources.values()), f"the settings of {section.section}")
            for section, sources in zip(self._sections, layers)
        ]
        if given and parsed.print_settings:
            for section, values, sources in zip(self._sections, settings, layers):
                print("\n".join(_described(section, values, sources)))
            self.exit()
        return parsed, settings

    def _given(self, section: type[Section], parsed: Values) -> dict[str, Values]:
        """What --settings and the flags say of one section."""
        flags: Values = {}
        for key, text in parsed.items():
            owner, _, name = key.partition("/")
            if owner == section.section and name:
                flags = merged(flags, _nested(name, yaml.safe_load(text)))
        return {"settings file": _load(parsed[f"{section.section}/"], section.section), "command line": flags}


def merged(*layers: Values) -> Values:
    """Nested settings, later ones over earlier ones."""
    result: Values = {}
    for layer in layers:
        for key, value in layer.items():
            both = isinstance(value, dict) and isinstance(result.get(key), dict)
            result[key] = merged(result[key], value) if both else value
    return result


def _nested(name: str, value: Any) -> Values:
    """a.b, 1 -> {a: {b: 1}}"""
    for part in reversed(name.split(".")):
        value = {part: value}
    return value


def _described(section: type[Section], settings: Section, sources: dict[str, Values]) -> Iterator[str]:
    """One line a setting: its value and where that comes from."""
    for name, _, _ in _flat_fields(section):
        origin = [source for source, values in sources.items() if _find(values, name.split("."))]
        value = settings
        for part in name.split("."):
            value = getattr(value, part)
        yield f"{section.section}.{name}: {json.dumps(value)}  ({origin[-1] if origin else 'default'})"


def _find(values: Any, path: list[str]) -> bool:
    """Whether nested settings say something at a path."""
    return not path or (isinstance(values, dict) and path[0] in values and _find(values[path[0]], path[1:]))


def _flat_fields(section: type[Section], prefix: str = "") -> list[tuple[str, str, Any]]:
    found = []
    for name, field in section.model_fields.items():
        default = field.get_default(call_default_factory=True)
        if isinstance(default, Section):
            found += _flat_fields(type(default), f"{prefix}{name}.")
        else:
            found.append((prefix + name, field.description or "", default))
    return found


def _load(text: str, section: str) -> dict[str, Any]:
    """Settings from YAML text or from a file, whose key `section` is taken where it has one."""
    try:
        values = yaml.safe_load(
            Path(text).read_text(encoding="utf-8")
            if not text.lstrip().startswith("{") and Path(text).is_file()
            else text
        )
    except yaml.YAMLError as error:
        raise UserError(f"--settings: not YAML ({error})") from None
    if not isinstance(values, dict):
        raise UserError(f"--settings: {text!r} is neither a file nor a YAML mapping such as '{{size: 256}}'")
    return json.loads(json.dumps(values.get(section, values)))


def run(main: Callable[[], None], resumable: bool = False) -> None:
    """Run a stage; a user's mistake is printed as its message alone and ends with status 1.

    Args:
        main: the stage.
        resumable: it goes on where it stopped: signals that ask for it (`interruption.SIGNALS`) end it with CONTINUE_STATUS, whatever
            it does; while it trains, `Interruption` takes them.
    """
    for number in SIGNALS if resumable else ():
        signal.signal(number, _leave)
    try:
        main()
    except InterruptedRun as interruption:
        print(f"{interruption}", file=sys.stderr)
        raise SystemExit(CONTINUE_STATUS) from None
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(1) from None


def _leave(number: int, frame: FrameType | None) -> None:
    raise InterruptedRun(
        f"{signal.Signals(number).name}: outside of training, {NOTHING_SAVED}; the same command starts again"
    )
