"""Starts processes of one machine that share a training; `reenact.training.distributed` is what they exchange."""

import os
import signal
import sys

from reenact.runtime.errors import CONTINUE_STATUS, InterruptedRun, UserError


def launch(processes: int) -> bool:
    """Run this same command line in several processes of this machine, unless they run already.

    torchrun's launcher, called from Python: as a command it turns every failure into status 1, and
    CONTINUE_STATUS would be lost.

    Args:
        processes: how many.

    Returns:
        Whether they were run, to their end; False = this process is to do the work.

    Raises:
        InterruptedRun: they were told to stop, and saved their state.
        SystemExit: another failure; they said why.
    """
    if processes == 1 or "WORLD_SIZE" in os.environ:
        return False
    from torch.distributed.elastic.multiprocessing import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    os.environ.setdefault("TORCHELASTIC_SIGNALS_TO_HANDLE", "SIGTERM,SIGINT,SIGHUP,SIGQUIT,SIGUSR1")  # passed on
    if hasattr(signal, "SIGURG"):
        signal.signal(signal.SIGURG, signal.SIG_IGN)  # sent to a whole job: the processes get it themselves
    module = getattr(sys.modules["__main__"].__spec__, "name", None)
    if module is None:
        raise UserError(f"{processes} processes: start the stage as a module, as python -m workflow_scripts.meta")
    meeting = {"rdzv_backend": "c10d", "rdzv_endpoint": "localhost:0", "run_id": "reenact"}
    plan = LaunchConfig(min_nodes=1, max_nodes=1, nproc_per_node=processes, max_restarts=0, **meeting)
    try:
        elastic_launch(plan, sys.executable)("-m", module, *sys.argv[1:])
    except SignalException as told:
        raise InterruptedRun(f"{module}: {told.sigval.name} passed on to {processes} processes") from None
    except ChildFailedError as failed:
        statuses = {failure.exitcode for failure in failed.failures.values()}
        if CONTINUE_STATUS in statuses:
            raise InterruptedRun(f"{module}: {processes} processes saved their state") from None
        raise SystemExit(1) from None
    return True
