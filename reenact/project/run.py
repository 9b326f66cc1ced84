"""The process of a build: Snakemake, with a handler of its log that writes down what happens (`events` beside this).

`reenact.project.build` starts it, detached; Snakemake's own listing is what this prints. Its lock on the project is
held as long as this lives, however that ends.
"""

import os
import signal
import sys
import threading
import time
from pathlib import Path
from types import FrameType, ModuleType
from typing import Any

from reenact.project.events import FILE, event_of, write_event
from reenact.runtime.locks import try_lock

PLUGIN = "snakemake_logger_plugin_reenact"
STOPPED = "REENACT_STOPPED"
"""Environment variable that is set once this is told to stop: a run that is stopped ends without a report."""


def main(events: Path, arguments: list[str]) -> int:
    """Run Snakemake to its end, and write down how it ends.

    Returns:
        Its exit status.
    """
    from snakemake import cli

    _register_handler(events)
    signal.signal(signal.SIGINT, _stop)
    message, status = "", 1
    try:
        cli.main(["--logger", "reenact", *arguments])
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else 1
        if isinstance(end.code, str):  # of rules/common.smk, about the configuration
            message = end.code
            print(message, file=sys.stderr)
    except KeyboardInterrupt:
        status = 130
    except BaseException as error:
        message = f"error: {error}"
        raise
    finally:
        write_event(events, "ended", status=status, stopped=STOPPED in os.environ, text=message)
    return status


def _stop(number: int, frame: FrameType | None) -> None:
    """What Ctrl+C does: no more jobs; those that run are asked to save and leave."""
    if STOPPED not in os.environ:
        os.environ[STOPPED] = "1"
        graceful = signal.signal(signal.SIGTERM, lambda number, frame: None)
        threading.Thread(target=_end_jobs, args=[graceful], daemon=True).start()
    raise KeyboardInterrupt


def _end_jobs(graceful: Any) -> None:
    """Ask all jobs to leave, until this process ends: one may begin in the moment of the first time.

    Args:
        graceful: Snakemake's handler of SIGTERM, once it has one: it starts no more jobs. An exception in the main
            thread is not enough, since Snakemake's log swallows one that comes while it writes. The handler takes a
            lock that the main thread may have, so it is called here.
    """
    if callable(graceful):
        graceful()
    while hasattr(os, "killpg") and os.getpgrp() == os.getpid():
        os.killpg(0, signal.SIGTERM)
        time.sleep(1)


def _register_handler(events: Path) -> None:
    """Make Snakemake's option `--logger reenact` mean the handler, as if it were a package of Snakemake's plugins."""
    from snakemake_interface_logger_plugins.base import LogHandlerBase
    from snakemake_interface_logger_plugins.registry import LoggerPluginRegistry

    class LogHandler(LogHandlerBase):
        """Writes down what happens; prints nothing, and sees everything whatever is printed."""

        writes_to_stream = writes_to_file = has_formatter = needs_rulegraph = False
        has_filter = True

        def emit(self, record: Any) -> None:
            """Write down what a record tells us."""
            found = event_of(record)
            if found:
                write_event(events, found[0], **found[1])

    plugin = ModuleType(PLUGIN)
    plugin.LogHandler = LogHandler  # type: ignore[attr-defined]
    LoggerPluginRegistry().register_plugin(PLUGIN, plugin)


if __name__ == "__main__":
    file = Path(os.environ[FILE])
    if os.name == "nt":  # elsewhere it is handed on by whoever starts this
        lock = file.with_name("lock").open("ab")
        try_lock(lock)
    write_event(file, "running", pid=os.getpid())
    sys.exit(main(file, sys.argv[1:]))
