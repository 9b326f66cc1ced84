"""What macOS and Windows lack is asked for where it is used: every module can be imported without it."""

import os
import subprocess
import sys

from tree import ROOT

from reenact.runtime.files import read_at, write_at

# Packages first, which know by themselves what their system has; then ours again, on a system that lacks all of these.
IMPORT_ALL = """
import importlib, os, pkgutil, signal, sys
import reenact, workflow_scripts
packages = (reenact, workflow_scripts)
ours = [m.name for package in packages for m in pkgutil.walk_packages(package.__path__, package.__name__ + ".")]
for name in ours:
    importlib.import_module(name)
for name in [m for m in sys.modules if m.partition(".")[0] in ("reenact", "workflow_scripts")]:
    del sys.modules[name]
for module in ("fcntl", "resource", "pwd", "grp", "termios", "tty", "pty", "posix", "syslog"):
    sys.modules[module] = None
for module, missing in ((os, ("fork", "forkpty", "getuid", "geteuid", "getgid", "uname", "pread", "pwrite", "killpg",
                              "sched_getaffinity", "getloadavg", "sysconf", "O_NOFOLLOW", "mkfifo", "setsid")),
                        (signal, ("SIGUSR1", "SIGUSR2", "SIGURG", "SIGKILL", "SIGHUP", "SIGQUIT", "SIGALRM"))):
    for name in missing:
        vars(module).pop(name, None)
for name in ours:
    importlib.import_module(name)
print(len(ours))
"""


def test_every_module_is_imported_without_what_windows_lacks():
    done = subprocess.run([sys.executable, "-c", IMPORT_ALL], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout.split()[-1]) > 150


def test_places_in_files_without_pread(tmp_path, monkeypatch):
    for name in ("pread", "pwrite"):
        monkeypatch.delattr(os, name)
    file = os.open(tmp_path / "file", os.O_RDWR | os.O_CREAT)
    try:
        assert write_at(file, b"abcdef", 3) == 6
        assert read_at(file, 4, 5) == b"cdef" and read_at(file, 9, 0) == b"\0\0\0abcdef"
    finally:
        os.close(file)
