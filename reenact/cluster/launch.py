"""Starting a stage where a job runs: with GPUs of its own, in as many processes as it needs."""

import os
import platform
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from reenact.cluster import slurm
from reenact.cluster.devices import VARIABLE, chosen_devices, lease_folder, leased, visible_devices
from reenact.cluster.job_log import no_progress, open_log, say, signature
from reenact.cluster.supervise import supervise
from reenact.runtime.allocator import without_caches
from reenact.runtime.errors import CONTINUE_STATUS
from reenact.runtime.progress import VARIABLE as PROGRESS
from reenact.runtime.progress import progress_file

LONGEST_WAIT = 600.0
"""How long a requeued job waits for SLURM to end it, s."""
NO_PROGRESS = "twice asked to stop before it had anything to save, so this counts as a failure; give it more `runtime`"


@dataclass(frozen=True)
class Request:
    """What a stage asks for.

    Attributes:
        command: arguments of Python, ["-m", "workflow_scripts.meta", ...].
        device: the setting `device`.
        gpus: GPUs in all, over its nodes.
        nodes: machines.
        threads: CPU threads on each machine.
        processes: in how many it runs, over its nodes. On one node it starts them itself (`reenact.runtime.torchrun`),
            on several torchrun does.
    """

    command: Sequence[str]
    device: str = "auto"
    gpus: int = 0
    nodes: int = 1
    threads: int = 1
    processes: int = 1

    @property
    def name(self) -> str:
        """The stage."""
        return self.command[1].rpartition(".")[2]


def launch(request: Request, log: Path | None = None, environ: Mapping[str, str] = os.environ) -> int:
    """Run a stage to its end.

    It sees the GPUs that it asked for and no others: outside of SLURM these are leased, so that no other job has them
    at the same time; under SLURM they are those of the job. On a machine without GPUs it runs on the CPU.
    A stage that was asked to stop and has saved its state (CONTINUE_STATUS) is started again: under SLURM by requeueing
    the job, which Snakemake does not count as a failure, elsewhere here and at once.

    Args:
        request: what to run, and with what.
        log: file for everything that the stage prints (see `open_log`); None = where this process prints.
        environ: environment.

    Returns:
        The stage's exit status; 128 + its number for a signal.

    Raises:
        UserError: there are not so many GPUs.
    """
    job, rendezvous = slurm.current_job(environ), slurm.rendezvous(environ)
    with ExitStack() as stack:
        output = sys.stdout if log is None or rendezvous else stack.enter_context(open_log(log, job))
        command, environment, locks, gpus = prepare(request, job, rendezvous, environ, stack)
        if log:
            environment[PROGRESS] = str(progress_file(log))
            stack.callback(progress_file(log).unlink, missing_ok=True)
        say(output, f"{request.name}: starts on {platform.node()}{signature(job)}, GPUs: {gpus}")
        started = time.monotonic()
        while True:
            status, stop_requested = supervise(
                command, environment, locks, output, in_job=job is not None, workers=request.processes > 1
            )
            if status != CONTINUE_STATUS or job or stop_requested:
                break
            say(output, f"{request.name}: starts again")
        if job and not rendezvous and status == CONTINUE_STATUS:
            printed = log.read_text(encoding="utf-8", errors="replace") if log and log.is_file() else ""
            requeue(job, request.name, output, printed)
        say(output, f"{request.name}: {describe_end(status, job)}, after {time.monotonic() - started:.0f} s")
    return status


def prepare(
    request: Request,
    job: slurm.SlurmJob | None,
    rendezvous: slurm.Rendezvous | None,
    environ: Mapping[str, str],
    stack: ExitStack,
) -> tuple[list[str], dict[str, str], list[int], str]:
    """The command and its environment, descriptors of the GPUs' leases (held by `stack`), and the GPUs in words."""
    environment, count = without_caches(environ), -(-request.gpus // request.nodes)
    if request.nodes > 1 and not rendezvous:
        return on_every_node(request), environment, [], f"{count} on each of {request.nodes} nodes"
    devices = chosen_devices(request.device, visible_devices(environ)) if count else []
    locks: list[int] = []
    if devices and not (job and count == len(devices)):  # else all that SLURM gave to this job, and to no other
        devices, locks = stack.enter_context(leased(count, devices, lease_folder(environ)))
    if devices or not count:
        environment[VARIABLE] = ",".join(devices)
    return on_this_node(request, rendezvous), environment, locks, ", ".join(devices) or "none"


def on_this_node(request: Request, rendezvous: slurm.Rendezvous | None) -> list[str]:
    """The command of a stage on one machine: itself, or torchrun with the processes of this node."""
    if not rendezvous:
        return [sys.executable, *request.command]
    arguments = [
        f"--nnodes={rendezvous.nodes}",
        f"--node-rank={rendezvous.node}",
        f"--master-addr={rendezvous.host}",
        f"--master-port={rendezvous.port}",
        f"--nproc-per-node={request.processes // rendezvous.nodes}",
    ]
    return [sys.executable, "-m", "reenact.cluster.torchrun", *arguments, *request.command]


def on_every_node(request: Request) -> list[str]:
    """The command that runs this very command on each node of the job, where `slurm.rendezvous` finds the others."""
    arguments = [
        f"--nodes={request.nodes}",
        f"--ntasks={request.nodes}",
        "--ntasks-per-node=1",
        f"--cpus-per-task={request.threads}",
    ]
    return ["srun", *arguments, "--wait=60", *sys.orig_argv]


def requeue(job: slurm.SlurmJob, name: str, output: TextIO, log: str) -> None:
    """After a stage saved its state: have SLURM start the job again, unless it is being ended, or makes no progress.

    Returns only where it is not started again.

    Args:
        job: as it was when the stage started.
        name: of the stage.
        output: for what becomes of the job.
        log: text of the job's log.
    """
    why = slurm.why_stopped(job, slurm.query(job.number))
    if not why and no_progress(log):
        say(output, f"{name}: {NO_PROGRESS}")
        return
    if not why:
        say(output, f"{name}: saved its state; the job goes back into the queue, and on from there")
        complaint = slurm.requeue(job)
        if complaint:
            say(output, f"{name}: SLURM does not take the job back ({complaint}), so this counts as a failure")
            return
    elif why != slurm.REQUEUED:
        return
    # Leaving now would look like a failure: SLURM ends the job by itself.
    end = time.monotonic() + LONGEST_WAIT
    while time.monotonic() < end:
        time.sleep(1)


def describe_end(status: int, job: slurm.SlurmJob | None) -> str:
    """What became of a stage, in words."""
    if status == 0:
        return "finished"
    words = "saved its state and left" if status == CONTINUE_STATUS else f"failed with status {status}"
    stopped_by = status - 128 if status - 128 in set(signal.Signals) else None
    if stopped_by:
        words = f"was stopped by {signal.Signals(stopped_by).name}"
    why = slurm.why_stopped(job, slurm.query(job.number)) if job else ""
    if why:
        return f"{words}: {why}"
    if stopped_by == getattr(signal, "SIGKILL", 0):
        words += ", as systems do to a process when memory runs out; give it more `mem_mb`"
    return words
