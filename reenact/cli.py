"""The command line of a stage: its files, and one flag for every setting of its section."""

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import yaml

from reenact.errors import CONTINUE_STATUS, InterruptedRun, UserError
from reenact.settings.base import Section, read


class StageParser(argparse.ArgumentParser):
    """Arguments of one stage. Settings resolve as: default < --settings < a flag of its own."""

    def __init__(self, description: str | None, *sections: type[Section]) -> None:
        super().__init__(description=description, allow_abbrev=False)
        self._sections = sections
        for section in sections:
            group = self.add_argument_group(f"settings of {section.section}", section.__doc__)
            main = section is sections[0]
            group.add_argument(
                "--settings" if main else f"--{section.section}-settings",
                dest=f"{section.section}/", metavar="YAML", default="{}",
                help="settings as YAML text, or a file such as config.yaml, whose section is taken",
            )
            prefix = "" if main else f"{section.section}."
            for name, description, default in _flat_fields(section):
                text = f"{description} (default: {default})".replace("%", "%%")
                flag = f"--{prefix}{name}".replace("_", "-")
                group.add_argument(flag, dest=f"{section.section}/{name}", metavar="VALUE", default=argparse.SUPPRESS, help=text)

    def add_device_arguments(self) -> None:
        """Where the networks run: --device and --threads."""
        self.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, mps (default: auto)")
        self.add_argument("--threads", type=int, default=0, help="CPU threads; 0 = as many as there are cores (default: 0)")

    def parse(self, arguments: Sequence[str] | None = None) -> tuple[argparse.Namespace, list[Any]]:
        """Return the parsed arguments and one settings object per section, in the order given."""
        parsed = self.parse_args(arguments)
        return parsed, [self._read(section, vars(parsed)) for section in self._sections]

    def _read(self, section: type[Section], given: dict[str, Any]) -> Section:
        values = _load(given[f"{section.section}/"], section.section)
        for key, text in given.items():
            owner, _, name = key.partition("/")
            if owner == section.section and name:
                *parents, leaf = name.split(".")
                target = values
                for parent in parents:
                    target = target.setdefault(parent, {})
                target[leaf] = yaml.safe_load(text)
        return read(section, values, f"the settings of {section.section}")


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
        values = yaml.safe_load(Path(text).read_text(encoding="utf-8") if not text.lstrip().startswith("{") and Path(text).is_file() else text)
    except yaml.YAMLError as error:
        raise UserError(f"--settings: not YAML ({error})") from None
    if not isinstance(values, dict):
        raise UserError(f"--settings: {text!r} is neither a file nor a YAML mapping such as '{{size: 256}}'")
    return json.loads(json.dumps(values.get(section, values)))


def run(main: Callable[[], None]) -> None:
    """Run a stage; a user's mistake is printed as its message alone and ends with status 1, a saved interruption with CONTINUE_STATUS."""
    try:
        main()
    except InterruptedRun as interruption:
        print(f"{interruption}", file=sys.stderr)
        raise SystemExit(CONTINUE_STATUS) from None
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(1) from None
