"""What a job learns from SLURM: about itself, about the nodes that it shares with others, and why it is stopped."""

import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

FIRST_PORT, PORTS = 12_000, 20_000  # below those that systems hand out by themselves (from 32,768)

CANCELLED = "the job was cancelled (scancel, or Snakemake was stopped)"
REQUEUED = "SLURM sent the job back into the queue, and starts it again"
REASONS = {
    "TimeLimit": "its time limit was reached; give it more `runtime`",
    "NodeDown": "its node failed",
    "OutOfMemory": "it used more memory than it had asked for; give it more `mem_mb`",
}
"""What it means when SLURM ends a job and gives this reason."""


@dataclass(frozen=True)
class SlurmJob:
    """A job of SLURM's, as `scontrol show job` describes it at one time.

    Attributes:
        number: its id.
        run: its name, which the executor sets to one value for all jobs of a run of Snakemake.
        state: RUNNING, COMPLETING (it is being ended) ...; UNKNOWN where SLURM does not answer.
        reason: of being ended, where there is a special one.
        restarts: how often it was requeued.
        output: file for what the job, and SLURM about it, prints.
    """

    number: str
    run: str = ""
    state: str = "UNKNOWN"
    reason: str = "None"
    restarts: int = 0
    output: Path = Path()


def current_job(environ: Mapping[str, str]) -> SlurmJob | None:
    """The job that this process belongs to; None outside of SLURM."""
    number = environ.get("SLURM_JOB_ID")
    return query(number) if number else None


def query(number: str) -> SlurmJob:
    """A job as SLURM sees it now."""
    try:
        done = subprocess.run(
            ["scontrol", "--oneliner", "show", "job", number], capture_output=True, text=True, timeout=60, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return SlurmJob(number)
    fields = dict(re.findall(r"(\w+)=(\S*)", done.stdout))
    return SlurmJob(
        number=number,
        run=fields.get("JobName", ""),
        state=fields.get("JobState", "UNKNOWN"),
        reason=fields.get("Reason", "None"),
        restarts=int(fields.get("Restarts", 0)),
        output=Path(fields.get("StdOut", "")),
    )


def why_stopped(before: SlurmJob, now: SlurmJob) -> str:
    """Why SLURM is ending a job, in words; empty where it is not.

    Args:
        before, now: the job when it started, and after its processes were asked to stop. While it is ended its state is
            COMPLETING, whatever for, so that the other fields have to tell.
    """
    if now.state in ("RUNNING", "UNKNOWN"):
        return ""
    if now.restarts > before.restarts:
        return REQUEUED
    return REASONS.get(now.reason, CANCELLED)


def exit_reason(job: SlurmJob) -> str:
    """How a job ended that had no time for a word itself: its state, and what SLURM wrote into its log."""
    try:
        lines = re.findall(
            r"^slurmstepd\S* error: (.*)", job.output.read_text(encoding="utf-8", errors="replace"), re.M
        )
    except OSError:
        lines = []
    telling = [line for line in lines if re.search(r"memory|oom|DUE TO", line)] or lines[-1:]
    return ": ".join([job.state, *telling[:1]])


def requeue(job: SlurmJob) -> str:
    """Ask SLURM to put a running job back into the queue, where it keeps its number and gets a whole time limit again.

    Returns:
        SLURM's complaint, empty where it agreed.
    """
    try:
        done = subprocess.run(
            ["scontrol", "requeue", job.number], capture_output=True, text=True, timeout=60, check=False
        )
    except (OSError, subprocess.SubprocessError) as error:
        return str(error)
    return (done.stderr.strip() or f"status {done.returncode}") if done.returncode else ""


@dataclass(frozen=True)
class Rendezvous:
    """Where the processes of one training on several nodes find each other.

    Attributes:
        nodes, node: number of nodes, and which of them this is, from 0.
        host, port: of the first node.
    """

    nodes: int
    node: int
    host: str
    port: int


def rendezvous(environ: Mapping[str, str]) -> Rendezvous | None:
    """The rendezvous of a step that runs on several nodes, from the variables that srun sets; None on one node."""
    nodes = int(environ.get("SLURM_STEP_NUM_NODES", environ.get("SLURM_NNODES", 1)))
    if nodes == 1 or "SLURM_NODEID" not in environ:
        return None
    names = environ.get("SLURM_STEP_NODELIST") or environ["SLURM_JOB_NODELIST"]
    port = FIRST_PORT + int(environ["SLURM_JOB_ID"]) % PORTS
    return Rendezvous(nodes, int(environ["SLURM_NODEID"]), first_host(names), port)


def first_host(names: str) -> str:
    """First of a list of nodes as SLURM writes it: `gpu[03-05,9],big1` -> `gpu03`."""
    first = re.match(r"(?:[^,\[]|\[[^\]]*\])*", names)
    return re.sub(r"\[([^\],-]*)[^\]]*\]", r"\1", first[0]) if first else names
