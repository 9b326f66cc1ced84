"""The command `reenact`: every command line of `workflow_scripts` by its name, imported once it is asked for."""

import ast
import difflib
import importlib
from functools import cache, partial
from pathlib import Path

import click

from reenact import __version__
from reenact.runtime.cli import run
from reenact.runtime.code_fingerprint import ROOT

SCRIPTS = ROOT / "workflow_scripts"
FIRST = ("new", "add", "build", "try", "studio")
"""Commands that a project needs, in the order in which it needs them."""
INNER = ("make", "launch", "write_reference")
"""What is for the source tree, or for rules."""


class Commands(click.Group):
    """A group whose commands are modules of `workflow_scripts`; `_` in their names may be written as `-`."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names of all commands."""
        names = sorted(path.stem for path in SCRIPTS.glob("[!_]*.py") if path.stem not in INNER)
        return [name.replace("_", "-") for name in names]

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        """Import a command."""
        if name not in self.list_commands(ctx):
            return None
        found: click.Command = importlib.import_module(f"workflow_scripts.{stem(name)}").main
        return found

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The command that the first argument names; of a wrong one the nearest is named."""
        names = self.list_commands(ctx)
        args = [args[0].replace("_", "-"), *args[1:]] if not args[0].startswith("-") else args
        if args[0] not in names and not args[0].startswith("-"):
            close = difflib.get_close_matches(args[0], names, n=1)
            hint = f"Did you mean {close[0]!r}?" if close else "`reenact --help` lists them."
            raise click.UsageError(f"There is no command {args[0]!r}. {hint}", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """What each does, without an import of any."""
        names = self.list_commands(ctx)
        stages = [name for name in names if (ROOT / "reenact" / "stages" / f"{stem(name)}.py").is_file()]
        groups = {
            "A project": [name for name in FIRST if name in names],
            "Tools": [name for name in names if name not in stages and name not in FIRST],
            "Stages, each by itself": stages,
        }
        for title, members in groups.items():
            with formatter.section(title):
                formatter.write_dl([(name, summary(SCRIPTS / f"{stem(name)}.py")) for name in members])


def stem(name: str) -> str:
    """Of the script of a command."""
    return name.replace("-", "_")


@cache
def summary(script: Path) -> str:
    """The first sentence of a script's docstring."""
    text = ast.get_docstring(ast.parse(script.read_text(encoding="utf-8"))) or ""
    return " ".join(text.partition("\n\n")[0].split())


@click.group(
    cls=Commands,
    context_settings={"max_content_width": 120, "help_option_names": ["-h", "--help"]},
    help="""\b
Avatars of people who follow what another person does in a video.

\b
  reenact try photo.jpg video.mp4        a first one, at once
  reenact new lab && cd lab              a project
  reenact add anna photo.jpg
  reenact add speech video.mp4 --driver
  reenact build

`reenact COMMAND --help` says what a command takes.
""",
)
@click.version_option(__version__, prog_name="reenact")
def group() -> None:
    """See the help."""


def main() -> None:
    """Run the command line."""
    run(partial(group.main, standalone_mode=False))


if __name__ == "__main__":
    main()
