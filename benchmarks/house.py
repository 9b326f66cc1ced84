"""How easy is the code to find one's way in? A table of sizes, for any commits: python benchmarks/house.py [COMMIT ...]

Each commit is checked out into a temporary folder (default: HEAD). Lines and long functions are counted as they are,
and as `ruff format` writes them with the settings of this checkout, since formatting alone adds lines.
"""

import argparse
import ast
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parent.parent
MOST_LINES, MOST_PARAMETERS = 60, 8
Function = ast.FunctionDef | ast.AsyncFunctionDef


@contextmanager
def checkout(commit: str) -> Iterator[Path]:
    """A folder with the files of a commit."""
    with tempfile.TemporaryDirectory(prefix="reenact-house-") as folder:
        archive = subprocess.run(["git", "archive", commit], cwd=ROOT, check=True, capture_output=True).stdout
        subprocess.run(["tar", "-x", "-C", folder], input=archive, check=True)
        yield Path(folder)


@contextmanager
def formatted(package: Path) -> Iterator[Path]:
    """A copy of a package as ruff formats it."""
    with tempfile.TemporaryDirectory(prefix="reenact-house-") as folder:
        copy = Path(folder) / package.name
        shutil.copytree(package, copy)
        command = ["ruff", "format", "--quiet", "--config", str(ROOT / "pyproject.toml"), str(copy)]
        subprocess.run(command, check=True)
        yield copy


def modules(package: Path) -> list[Path]:
    """The Python files of a package."""
    return sorted(package.rglob("*.py"))


def functions(package: Path) -> list[Function]:
    """All functions and methods of a package."""
    trees = [ast.parse(path.read_text(encoding="utf-8")) for path in modules(package)]
    return [node for tree in trees for node in ast.walk(tree) if isinstance(node, Function)]


def parameters(function: Function) -> list[ast.arg]:
    """What callers may pass by name or place, without self and cls."""
    names = [*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs]
    return [name for name in names if name.arg not in ("self", "cls")]


def public(body: list[ast.stmt]) -> Iterator[Function]:
    """Functions, methods and constructors that others may call, without those inside of functions."""
    for node in body:
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            yield from public(node.body)
        elif isinstance(node, Function) and (not node.name.startswith("_") or node.name == "__init__"):
            yield node


def is_typed(function: Function) -> bool:
    """Whether all parameters and what is returned have types."""
    given = [*parameters(function), function.args.vararg, function.args.kwarg]
    returns = function.name == "__init__" or function.returns is not None
    return returns and all(name is None or name.annotation is not None for name in given)


def sizes(package: Path) -> dict[str, int]:
    """Lines of a package, and functions with too many of them."""
    long = [f for f in functions(package) if (f.end_lineno or f.lineno) - f.lineno + 1 > MOST_LINES]
    lines = sum(len(path.read_text(encoding="utf-8").splitlines()) for path in modules(package))
    return {"lines": lines, "long": len(long)}


def keys(values: object) -> int:
    """Keys of a mapping and of all mappings in it."""
    if isinstance(values, dict):
        return len(values) + sum(keys(value) for value in values.values())
    return sum(keys(value) for value in values) if isinstance(values, list) else 0


def help_seconds(folder: Path) -> list[tuple[float, float]]:
    """Seconds by the clock and of cores that `--help` takes, for each stage; compiled files are there already."""
    stages = [rule.stem for rule in sorted((folder / "rules").glob("*.smk")) if script(folder, rule.stem).exists()]
    environment = os.environ | {"PYTHONPATH": str(folder)}
    times = []
    for stage in stages:
        command = [sys.executable, "-m", f"workflow_scripts.{stage}", "--help"]
        for _ in range(2):
            start, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
            subprocess.run(command, cwd=folder, env=environment, check=True, capture_output=True)
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            cores = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
            taken = time.perf_counter() - start, cores
        times.append(taken)
    return times


def script(folder: Path, stage: str) -> Path:
    """The command line of a stage."""
    return folder / "workflow_scripts" / f"{stage}.py"


def measure(folder: Path) -> dict[str, str]:
    """The figures of a checkout, by name."""
    package = folder / "reenact"
    found = functions(package)
    signatures = [f for path in modules(package) for f in public(ast.parse(path.read_text(encoding="utf-8")).body)]
    with formatted(package) as copy:
        now, then = sizes(package), sizes(copy)
    text = (folder / "config.yaml").read_text(encoding="utf-8")
    config = [line for line in text.splitlines() if line.strip() and not line.strip().startswith("#")]
    clock, cores = ([times[i] for times in help_seconds(folder)] for i in range(2))
    return {
        "files at the top of `reenact/`": str(len(list(package.glob("*.py")))),
        f"functions over {MOST_LINES} lines": f"{now['long']} ({then['long']})",
        f"functions with over {MOST_PARAMETERS} parameters": str(
            sum(len(parameters(function)) > MOST_PARAMETERS for function in found)
        ),
        "lines of `reenact/`": f"{now['lines']:,} ({then['lines']:,})",
        "lines of the shipped `config.yaml`, without comments": str(len(config)),
        "keys in it": str(keys(yaml.safe_load(text))),
        "`--help` of a stage, s of cores: median (most)": f"{statistics.median(cores):.1f} ({max(cores):.1f})",
        "`--help` of a stage, s by the clock: median (most)": f"{statistics.median(clock):.1f} ({max(clock):.1f})",
        "public signatures with all types": f"{statistics.mean(map(is_typed, signatures)):.1%} of {len(signatures)}",
    }


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("commits", nargs="*", default=["HEAD"], help="commits to compare (default: HEAD)")
    columns = {}
    for commit in parser.parse_args().commits:
        with checkout(commit) as folder:
            columns[commit] = measure(folder)
    print("| | " + " | ".join(f"`{commit[:10]}`" for commit in columns) + " |")
    print("| --- |" + " ---: |" * len(columns))
    for name in next(iter(columns.values())):
        print(f"| {name} | " + " | ".join(figures[name] for figures in columns.values()) + " |")
    print(f"\nIn brackets: as `ruff format` writes it. Load of the machine: {os.getloadavg()[0]:.1f}.")


if __name__ == "__main__":
    main()
