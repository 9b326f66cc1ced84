"""Start a stage with GPUs of its own, in several processes or on several nodes; all rules do it through this."""

import argparse
from pathlib import Path

from reenact.cluster.launch import Request, launch
from reenact.runtime.cli import run


def main() -> None:
    """Read the command line and run the stage."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument(
        "--device",
        help="where the stage's networks run, handed on to it: auto, cpu, cuda, mps; cuda:1 = the second GPU",
    )
    parser.add_argument("--gpus", type=int, default=0, help="GPUs in all; the stage sees no others (default: 0)")
    parser.add_argument("--nodes", type=int, default=1, help="machines, under SLURM (default: 1)")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads on each machine (default: 1)")
    parser.add_argument(
        "--processes", type=int, default=1, help="processes of a stage that shares its work, in all (default: 1)"
    )
    parser.add_argument("--log", type=Path, help="file for all that the stage prints (default: where this prints)")
    parser.add_argument("stage", help="name of a script in workflow_scripts/")
    parser.add_argument("arguments", nargs=argparse.REMAINDER, help="arguments of the stage")
    given = parser.parse_args()
    command = ["-m", f"workflow_scripts.{given.stage}", *given.arguments]
    if given.device:
        # Of several GPUs the stage sees the chosen one alone.
        command += ["--device", given.device.partition(":")[0]]
    request = Request(command, given.device or "auto", given.gpus, given.nodes, given.threads, given.processes)
    raise SystemExit(launch(request, given.log))


if __name__ == "__main__":
    run(main)
