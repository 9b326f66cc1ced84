"""GPUs of this machine, and leases of them: jobs that run at the same time get different ones.

A lease is a lock on a file in the machine's own temporary folder. The kernel drops it when the last process
that holds it ends, however it ends, so nothing has to be cleaned up after a crash.
"""

import getpass
import os
import platform
import random
import re
import stat
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from reenact.runtime.errors import UserError
from reenact.runtime.locks import try_lock

VARIABLE = "CUDA_VISIBLE_DEVICES"
LISTED = Path("/proc/driver/nvidia/gpus")


def visible_devices(environ: Mapping[str, str], listed: Path = LISTED) -> list[str]:
    """GPUs that a process with this environment may use, named as in CUDA_VISIBLE_DEVICES; [] without any.

    Args:
        environ: of the process. What CUDA_VISIBLE_DEVICES says is not checked.
        listed: folder in which NVIDIA's driver lists its GPUs, asked where nvidia-smi is not there.
    """
    if VARIABLE in environ:
        names = [name.strip() for name in environ[VARIABLE].split(",")]
        return [name for name in names if name and name != "-1"]
    if (platform.system(), platform.machine()) == ("Darwin", "arm64"):
        return ["0"]  # Apple's own; the variable means nothing to it, but one job at a time does
    try:
        done = subprocess.run(["nvidia-smi", "--list-gpus"], capture_output=True, text=True, timeout=30, check=True)
        count = len(re.findall(r"^GPU \d+:", done.stdout, re.M))
    except (OSError, subprocess.SubprocessError):
        count = len(list(listed.iterdir())) if listed.is_dir() else 0
    return [str(number) for number in range(count)]


def chosen_devices(device: str, visible: Sequence[str]) -> list[str]:
    """Those of the visible GPUs that the setting `device` allows.

    Raises:
        UserError: `device` is cuda:N and there are not so many.
    """
    if device in ("cpu", "mps"):
        return []
    _, _, number = device.partition(":")
    if not number:
        return list(visible)
    if not number.isdigit() or int(number) >= len(visible):
        raise UserError(
            f"device: {device!r} is not there; GPUs on this machine: {len(visible)} ({', '.join(visible) or 'none'})"
        )
    return [visible[int(number)]]


def lease_folder(environ: Mapping[str, str]) -> Path:
    """The folder of this user's leases, made if missing; one for each job of SLURM's, where GPUs are numbered anew.

    Raises:
        UserError: it cannot be made, or somebody else owns what stands in its place.
    """
    user = os.getuid() if hasattr(os, "getuid") else getpass.getuser()  # Windows has names only
    folder = Path(tempfile.gettempdir()) / f"reenact-gpus-{user}"
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        found = folder.lstat()
        # The temporary folder is everybody's: what is there already may be a trap.
        if not stat.S_ISDIR(found.st_mode) or (hasattr(os, "getuid") and found.st_uid != user):
            raise UserError(
                f"{folder}: must be a folder of user {user}, to keep leases of GPUs in; "
                "delete it, or name another folder of this machine in TMPDIR"
            )
        folder.chmod(0o700)
        leases = folder / environ.get("SLURM_JOB_ID", "machine")
        leases.mkdir(exist_ok=True)
    except OSError as error:
        raise UserError(
            f"{folder}: leases of GPUs cannot be kept there ({error.strerror}); "
            "name another folder of this machine in TMPDIR"
        ) from None
    return leases


@contextmanager
def leased(
    count: int, devices: Sequence[str], folder: Path, patience: float = float("inf")
) -> Iterator[tuple[list[str], list[int]]]:
    """Hold `count` of the devices alone, waiting until so many are free.

    Args:
        count: how many.
        devices: to choose from.
        folder: on a disk of this machine (locks on network disks are not to be relied on); see `lease_folder`.
        patience: longest wait, s.

    Yields:
        Names of the devices, and the file descriptors that hold the locks: a child that inherits them keeps the devices
        leased until it ends.

    Raises:
        UserError: there are not so many devices, or they did not get free in time.
    """
    if count > len(devices):
        raise UserError(
            f"the job asks for {count} GPUs, and this machine has {len(devices)}; give it fewer (resource `gpu`)"
        )
    given_up = time.monotonic() + patience
    while True:
        with ExitStack() as held:
            free = _lock(count, devices, folder, held)
            # All or none: two jobs that each hold one and wait for a second one would wait forever.
            if len(free) == count:
                yield list(free), list(free.values())
                return
        if time.monotonic() > given_up:
            raise UserError(
                f"no {count} of the GPUs {', '.join(devices)} got free within {patience:.0f} s; "
                f"their leases are in {folder}"
            )
        time.sleep(random.uniform(0.2, 0.6))  # jobs that wait for each other should not try in step


def _lock(count: int, devices: Sequence[str], folder: Path, held: ExitStack) -> dict[str, int]:
    """Lock up to `count` devices that nobody holds; descriptors by device."""
    free: dict[str, int] = {}
    for device in devices:
        if len(free) == count:
            break
        path = folder / f"{re.sub('[^A-Za-z0-9.-]', '_', device)}.lock"
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o600)
        except OSError as error:
            raise UserError(f"{path}: cannot be opened as the lease of a GPU ({error.strerror}); delete it") from None
        if try_lock(held.enter_context(os.fdopen(descriptor, "wb"))):
            free[device] = descriptor
    return free
