"""Start a stage with GPUs of its own, in several processes or on several nodes; all rules do it through this."""

from pathlib import Path

import click

from reenact.cluster.launch import Request, launch
from reenact.runtime.cli import FILE, StageCommand, run


# Whatever comes after the stage's name is the stage's.
@click.command(cls=StageCommand, help=__doc__, context_settings={"allow_interspersed_args": False})
@click.option(
    "--device", help="Where the stage's networks run, handed on to it: auto, cpu, cuda, mps; cuda:1 = the second GPU."
)
@click.option("--gpus", type=int, default=0, show_default=True, help="GPUs in all; the stage sees no others.")
@click.option("--nodes", type=int, default=1, show_default=True, help="Machines, under SLURM.")
@click.option("--threads", type=int, default=1, show_default=True, help="CPU threads on each machine.")
@click.option(
    "--processes", type=int, default=1, show_default=True, help="Processes of a stage that shares its work, in all."
)
@click.option("--log", type=FILE, help="File for all that the stage prints; by default where this prints.")
@click.argument("stage")
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def main(
    *,
    device: str | None,
    gpus: int,
    nodes: int,
    threads: int,
    processes: int,
    log: Path | None,
    stage: str,
    arguments: tuple[str, ...],
) -> None:
    """Read the command line and run the stage."""
    command = ["-m", f"workflow_scripts.{stage}", *arguments]
    if device:
        # Of several GPUs the stage sees the chosen one alone.
        command += ["--device", device.partition(":")[0]]
    raise SystemExit(launch(Request(command, device or "auto", gpus, nodes, threads, processes), log))


if __name__ == "__main__":
    run(main)
