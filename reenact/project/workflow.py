"""Where the workflow lies that builds projects, and how Snakemake is told about it."""

import os
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1]


def workflow_folder() -> Path:
    """The folder with the Snakefile, rules/, profiles/ and envs/: inside the installed package, or around it in the
    source tree."""
    installed = PACKAGE / "workflow"
    return installed if (installed / "Snakefile").is_file() else PACKAGE.parent


def snakemake_arguments(folder: Path, targets: Sequence[str] = (), options: Sequence[str] = ()) -> list[str]:
    """Arguments of Snakemake that build a project; all cores of this machine, unless the options say otherwise.

    Args:
        folder: of the project.
        targets: files or rules; none = everything.
        options: Snakemake's own. A profile that the project does not have is the one that comes with the package.
    """
    arguments = ["--snakefile", str(workflow_folder() / "Snakefile"), "--directory", str(folder)]
    said = {option.partition("=")[0] for option in options}
    if not said & {"-c", "--cores", "-j", "--jobs", "--profile", "--executor", "-e"} and not any(
        option[:2] in ("-c", "-j") and option[2:].isdigit() for option in options
    ):
        arguments += ["--cores", "all"]
    arguments += [_profile(folder, option, before) for before, option in zip(["", *options], options, strict=False)]
    # Several options take all that follows: targets come behind the two dashes.
    return [*arguments, "--", *targets] if targets else arguments


def environment() -> dict[str, str]:
    """The environment of Snakemake, in which `python` of the rules' commands is this one, and finds this package.

    Where this one has no torch, as `make driver` sets it up, the one of PATH is meant to run the stages.
    """
    values = dict(os.environ)
    if find_spec("torch"):
        values["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), values.get("PATH", "")])
    if (PACKAGE.parent / "pyproject.toml").is_file():
        values["PYTHONPATH"] = os.pathsep.join(filter(None, [str(PACKAGE.parent), values.get("PYTHONPATH", "")]))
    return values


def _profile(folder: Path, option: str, before: str) -> str:
    """An option, or the path of the package's profile where it names one."""
    flag, equals, name = option.rpartition("=")
    named = before == "--profile" or flag == "--profile"
    theirs = workflow_folder() / "profiles" / Path(name).name
    if named and not (folder / name).exists() and theirs.is_dir() and name in (theirs.name, f"profiles/{theirs.name}"):
        return f"{flag}{equals}{theirs}"
    return option
