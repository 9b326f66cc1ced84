"""Start a stage with GPUs of its own, in several processes or on several nodes; all rules call their stage through this."""

import argparse
from pathlib import Path

from reenact.cli import run
from reenact.cluster.launch import Request, launch


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--device", default="auto", help="as the setting `device`; cuda:1 takes the second GPU (default: auto)")
    parser.add_argument("--gpus", type=int, default=0, help="GPUs in all; the stage sees no others (default: 0)")
    parser.add_argument("--nodes", type=int, default=1, help="machines, under SLURM (default: 1)")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads on each machine (default: 1)")
    parser.add_argument("--distributed", action="store_true", help="run one process for each GPU, with torchrun")
    parser.add_argument("--log", type=Path, help="file for all that the stage prints (default: where this prints)")
    parser.add_argument("stage", help="name of a script in workflow_scripts/")
    parser.add_argument("arguments", nargs=argparse.REMAINDER, help="arguments of the stage")
    given = parser.parse_args()
    command = ["-m", f"workflow_scripts.{given.stage}", *given.arguments]
    request = Request(command, given.device, given.gpus, given.nodes, given.threads, given.distributed)
    raise SystemExit(launch(request, given.log))


if __name__ == "__main__":
    run(main)
