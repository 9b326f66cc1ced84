"""The command line of a stage: its files, and one flag for every setting of its sections. Built on click."""

import copy
import json
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

import click

from reenact.runtime.errors import CONTINUE_STATUS, NOTHING_SAVED, InterruptedRun, UserError
from reenact.runtime.interruption import handled_by

# Below, only where there are settings: rules start every stage by a command without any, which would wait for pydantic.
if TYPE_CHECKING:
    from reenact.settings.base import Section, Values

Function = Callable[..., None]

FILE = click.Path(path_type=Path)
"""Type of an option that names a file or folder; whether it is there is the stage's business."""

INTERRUPTED = 130
"""Exit status after Ctrl+C, as shells have it."""


def nothing_saved(values: "Values") -> "dict[str, Values]":
    """Of stages that go on from no other run."""
    return {}


def command(
    description: str | None,
    *sections: "type[Section]",
    saved: "Callable[[Values], dict[str, Values]]" = nothing_saved,
    resumable: bool = False,
) -> Callable[[Function], "StageCommand"]:
    """Make a function with click's options the command line of a stage.

    The function is called with one settings object per section, in the order given, and its own options by name.
    Settings resolve as: default < preset < saved with a checkpoint < --settings < a flag of its own.

    Args:
        description: what `--help` begins with.
        sections: the settings that the stage takes. Flags of the first have no prefix.
        saved: what the file and flags say of the first section -> settings of a checkpoint that they name, by section.
        resumable: the same command goes on where it stopped. Signals that ask it to stop (`interruption.SIGNALS`) end
            it with CONTINUE_STATUS; while it trains, `Interruption` handles them.
    """
    return click.command(cls=StageCommand, help=description, sections=sections, saved=saved, resumable=resumable)


def device_options(function: Function) -> Function:
    """Where the networks run: --device and --threads."""
    threads = click.option(
        "--threads", type=int, default=0, show_default=True, help="CPU threads; 0 = as many as there are cores"
    )
    return click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:1, mps")(
        threads(function)
    )


class StageCommand(click.Command):
    """See `command`. Errors are raised, not printed: `run` does that."""

    def __init__(
        self,
        *arguments: Any,
        sections: "tuple[type[Section], ...]" = (),
        saved: "Callable[[Values], dict[str, Values]]" = nothing_saved,
        resumable: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(*arguments, **options)
        self._resumable = resumable
        self.context_settings.setdefault("max_content_width", 120)
        self._sections, self._saved = sections, saved
        self._flags = {section: list(_flags(section, first=section is sections[0])) for section in sections}
        if sections:
            text = "Print every setting, its value and where that comes from, and stop."
            self.params.append(click.Option(["--print-settings"], is_flag=True, help=text))
        self.params += [flag for flags in self._flags.values() for flag in flags]

    def main(self, *arguments: Any, standalone_mode: bool = False, **extra: Any) -> Any:
        """Parse a command line and call the function; see click, but errors are not caught."""
        return super().main(*arguments, standalone_mode=standalone_mode, **extra)  # type: ignore[call-overload]

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Take several values after one flag; need no files where settings are only printed."""
        form = copy.copy(self)
        if self._sections and "--print-settings" in args:
            form.params = [copy.copy(parameter) for parameter in self.params]
            for parameter in form.params:
                parameter.required = False
        return super(StageCommand, form).parse_args(ctx, list(_repeated(self.params, args)))

    def invoke(self, ctx: click.Context) -> None:
        """Make settings of the sources, and print them or call the function with them."""
        with handled_by(_leave) if self._resumable else nullcontext():
            self._invoke(ctx)

    def _invoke(self, ctx: click.Context) -> None:
        assert self.callback
        if not self._sections:
            ctx.invoke(self.callback, **ctx.params)
            return
        from reenact.settings.base import merged
        from reenact.settings.origin import described
        from reenact.settings.reading import read

        layers = {section: self._given(section, ctx.params) for section in self._sections}
        kept = self._saved(merged(*layers[self._sections[0]].values()))
        layers = {section: {"checkpoint": kept.get(section.section, {}), **layers[section]} for section in layers}
        settings = [
            read(section, merged(*sources.values()), f"the settings of {section.section}")
            for section, sources in layers.items()
        ]
        if ctx.params.pop("print_settings", False):
            for sources, values in zip(layers.values(), settings, strict=True):
                print("\n".join(described(values, sources)))
            return
        ctx.invoke(self.callback, *settings, **ctx.params)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Own options, then the settings of each section."""
        settings = [flag for flags in self._flags.values() for flag in flags]
        groups = {"Options": [parameter for parameter in self.get_params(ctx) if parameter not in settings]}
        groups |= {f"Settings of {section.section}": list(flags) for section, flags in self._flags.items()}
        for title, parameters in groups.items():
            with formatter.section(title):
                formatter.write_dl([row for parameter in parameters if (row := parameter.get_help_record(ctx))])

    def _given(self, section: "type[Section]", parsed: "Values") -> "dict[str, Values]":
        """What --settings and the flags say of one section; taken out of `parsed`."""
        from reenact.settings.base import merged

        flags: Values = {}
        for flag in self._flags[section]:
            assert flag.name
            text = parsed.pop(flag.name)
            if flag.path and text is not None:
                flags = merged(flags, _nested(flag.path, _value(flag.opts[0], text)))
            elif text is not None:
                file = _load(flag.opts[0], text, section.section)
        return {"settings file": file, "command line": flags}


class SettingFlag(click.Option):
    """The flag of one setting.

    Attributes:
        path: the setting's keys, from the outermost; empty for a section's file.
    """

    def __init__(self, section: str, path: tuple[str, ...], flag: str, help_text: str, default: str | None) -> None:
        super().__init__(
            [flag, "__".join((section.replace(".", "_"), "settings", *path))],
            metavar="VALUE" if path else "YAML",
            default=default,
            help=help_text,
        )
        self.path = path


def _flags(section: "type[Section]", first: bool) -> Iterator[SettingFlag]:
    """--settings, or --SECTION-settings, and a flag for every setting."""
    from reenact.settings.origin import settings_of

    text = "Settings as YAML text, or a file such as config.yaml, whose section is taken."
    yield SettingFlag(section.section, (), "--settings" if first else f"--{section.section}-settings", text, "{}")
    for setting in settings_of(section):
        name = setting.name if first else f"{section.section}.{setting.name}"
        text = f"{setting.description} (default: {setting.default})"
        yield SettingFlag(section.section, setting.path, f"--{name}".replace("_", "-"), text, None)


def _repeated(parameters: list[click.Parameter], arguments: list[str]) -> Iterator[str]:
    """`--crops a b` as click wants it, `--crops a --crops b`, so that shell patterns work; `--crops` alone is none."""
    many = {flag for parameter in parameters if getattr(parameter, "multiple", False) for flag in parameter.opts}
    current = ""
    for argument in arguments:
        if argument.startswith("--"):
            current = argument if argument in many else ""
            if current:
                continue
        elif current:
            yield current
        yield argument


def _nested(path: tuple[str, ...], value: Any) -> "Values":
    """(a, b), 1 -> {a: {b: 1}}"""
    for part in reversed(path):
        value = {part: value}
    return value


def _value(flag: str, text: str) -> Any:
    """The value of a flag, which is written as in YAML."""
    import yaml

    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise UserError(f"{flag}: {text!r} is not YAML ({' '.join(str(error).split())})") from None


def _load(flag: str, text: str, section: str) -> "Values":
    """Settings from YAML text or from a file, whose key `section` is taken where it has one."""
    is_file = not text.lstrip().startswith("{") and Path(text).is_file()
    values = _value(text if is_file else flag, Path(text).read_text(encoding="utf-8") if is_file else text)
    if not isinstance(values, dict):
        raise UserError(f"{flag}: {text!r} is neither a file nor a YAML mapping such as '{{size: 256}}'")
    return json.loads(json.dumps(values.get(section, values)))


def run(main: Callable[[], object]) -> None:
    """Run a stage. Of a user's mistake only the message is printed; it ends with status 1, or 2 in the command line."""
    try:
        main()
    except InterruptedRun as interruption:
        print(f"{interruption}", file=sys.stderr)
        raise SystemExit(CONTINUE_STATUS) from None
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(1) from None
    except click.ClickException as error:
        error.show()
        raise SystemExit(error.exit_code) from None
    except click.Abort:
        raise SystemExit(INTERRUPTED) from None


def _leave(number: int, frame: FrameType | None) -> None:
    raise InterruptedRun(
        f"{signal.Signals(number).name}: outside of training, {NOTHING_SAVED}; the same command starts again"
    )
