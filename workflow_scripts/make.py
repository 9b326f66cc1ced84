"""What `make` does, without make (Windows has none). Needs nothing but Python 3.11 or newer.

Usage: python -m workflow_scripts.make [TARGET ...]     (without a target: demo)

demo    build the avatars of config.yaml
test    lint, docs and the tests; COVERAGE= in the environment leaves out coverage, and takes a fifth less time
lint    formatting, names, types, layers of the code, Snakemake rules
docs    build site/ from docs/; a broken link is an error
golden  make the golden numbers of tests/test_golden.py anew, after a change that is meant to alter numbers
config  write docs/settings.md and docs/config.schema.json from the schema in reenact/settings/
bench   speed of preprocessing, as ratios of one run; memory of preprocessing and rendering a 10-minute driver; planning
        with 150,000 videos, training samples from shards, and the cost of meta-learning at full size; training and
        driving beside the published way of it, and how their cost grows
slurm   set up what sends jobs to SLURM, in the same environment (docs/cluster.md)
driver  the same in an environment of its own, without torch, for a login node
test-environment    set up what the tests need
clean   delete what the workflow made

All set up .venv first, with the Python that runs this. Where there is no NVIDIA GPU, torch is its CPU build.
"""

import os
import platform
import shutil
import subprocess
import sys
import venv
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).parents[1]
VENV, DRIVER = ROOT / ".venv", ROOT / ".venv-driver"
PROGRAMS = "Scripts" if os.name == "nt" else "bin"
# torch's own index has builds of 200 MB without CUDA; those of the package index bring 4 GB of it on Linux.
CPU_BUILDS = "https://download.pytorch.org/whl/cpu"
MADE = """
The avatars are built:
  videos   results/renders/<identity>/<driver>.mp4 and <driver>.side_by_side.mp4
  avatars  results/avatars/<identity>/model.safetensors
  report   results/report/index.html   (open it in a browser)
  studio   .venv/bin/reenact studio    (all of it in the browser: docs/studio.md)"""


def run(*command: str, status: bool = True) -> bool:
    """Run a program in the project's folder, the environment's programs first.

    Ends with its status where it fails; without `status` it says whether it worked, and what it prints is not shown.
    """
    search = os.pathsep.join([str(VENV / PROGRAMS), os.environ.get("PATH", "")])
    program = shutil.which(command[0], path=search) or command[0]
    done = subprocess.run(
        [program, *command[1:]], cwd=ROOT, env=os.environ | {"PATH": search}, capture_output=not status, check=False
    )
    if done.returncode and status:
        sys.exit(done.returncode)
    return not done.returncode


def pip(folder: Path, *arguments: str, status: bool = True) -> bool:
    """pip of an environment."""
    return run(str(folder / PROGRAMS / "python"), "-m", "pip", "install", "--quiet", *arguments, status=status)


def environment(extra: str = "") -> None:
    """Set up .venv with the package (and an extra of it), unless that is done and its requirements are as they were."""
    ready = VENV / f"ready{'-for-' if extra else ''}{extra}"
    sources = [ROOT / "pyproject.toml", ROOT / "constraints.txt"]
    if ready.is_file() and ready.stat().st_mtime >= max(path.stat().st_mtime for path in sources):
        return
    venv.create(VENV, with_pip=True, symlinks=os.name != "nt")
    if platform.system() == "Linux" and not shutil.which("nvidia-smi"):
        # torch alone: everything else comes from where pip always looks.
        once = ("--retries", "0", "--timeout", "15", "--index-url", CPU_BUILDS, "--no-deps")
        if not pip(VENV, *once, "--constraint", "constraints.txt", "torch", status=False):
            print(f"{CPU_BUILDS} has no torch for this Python, or cannot be reached: the build with CUDA is taken")
    pip(VENV, "--constraint", "constraints.txt", "--editable", f".[{extra}]" if extra else ".")
    ready.touch()


def demo() -> None:
    environment("studio")
    run("snakemake", "--cores", "all")
    run("snakemake", "--report", "results/report/snakemake.html")
    print(MADE)


def test() -> None:
    lint()
    docs()
    run("pytest", *os.environ.get("COVERAGE", "--cov").split())


def lint() -> None:
    environment("test")
    run("ruff", "check", ".")
    run("ruff", "format", "--check", ".")
    run("snakefmt", "--check", "Snakefile", *sorted(str(path.relative_to(ROOT)) for path in ROOT.glob("rules/*.smk")))
    run("lint-imports")
    run("mypy")


def docs() -> None:
    environment("test")
    run("mkdocs", "build", "--strict", "--quiet")


def golden() -> None:
    environment("test")
    run("python", "tests/support/golden.py")


def config() -> None:
    environment()
    run("python", "-m", "workflow_scripts.write_reference")


def bench() -> None:
    environment()
    run("snakemake", "--cores", "1", "resources/media/WolfgangLanger_Pexels.mp4", "resources/media/single_face.mp4")
    for name in ("preprocess", "footage_memory", "render_memory", "planning", "loader", "scale", "speed", "growth"):
        run("python", f"benchmarks/{name}.py")


def slurm() -> None:
    environment("slurm")
    print("source .venv/bin/activate && snakemake --profile profiles/slurm")


def driver() -> None:
    environment()
    venv.create(DRIVER, with_pip=True, symlinks=os.name != "nt")
    pip(DRIVER, "--requirement", "envs/driver.txt")
    print("source .venv/bin/activate && .venv-driver/bin/snakemake --profile profiles/slurm")


def clean() -> None:
    for name in ("results", "logs", "site", ".snakemake"):
        shutil.rmtree(ROOT / name, ignore_errors=True)


TARGETS: dict[str, Callable[[], None]] = {
    "demo": demo,
    "test": test,
    "lint": lint,
    "docs": docs,
    "golden": golden,
    "config": config,
    "bench": bench,
    "slurm": slurm,
    "driver": driver,
    "test-environment": lambda: environment("test"),
    "clean": clean,
}


def main(targets: list[str]) -> None:
    """Make the targets, one after the other."""
    if "--help" in targets:
        print(__doc__)
        return
    if unknown := [target for target in targets if target not in TARGETS]:
        sys.exit(f"error: {unknown[0]!r} is no target; there are: {', '.join(TARGETS)}")
    for target in targets or ["demo"]:
        TARGETS[target]()


if __name__ == "__main__":
    main(sys.argv[1:])
