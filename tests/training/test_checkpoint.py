"""Run folders: their names, and that one belongs to one process at a time."""

import subprocess
import sys

import pytest
import torch
from tree import ROOT

from reenact.runtime.errors import UserError
from reenact.training.checkpoint import RunFolder, Runs, fingerprint

HOLDER = """
import sys
from pathlib import Path
from reenact.training.checkpoint import RunFolder
with RunFolder(Path(sys.argv[1])).lock():
    print("locked", flush=True)
    sys.stdin.read()
"""


def test_a_run_folder_belongs_to_one_process_at_a_time(tmp_path):
    """Otherwise the one would remove the other's half-written checkpoint (`RunFolder.start`)."""
    run = RunFolder(tmp_path / "meta-123")
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(run.path)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as holder:
        assert holder.stdout.readline() == "locked\n"
        with pytest.raises(UserError, match=r"meta-123: another process trains in this run folder"), run.lock():
            pass
        holder.kill()  # however it ends, the folder is free again
    with run.lock():
        pass


def test_a_folder_that_cannot_be_locked_is_used_with_a_word_about_it(tmp_path, monkeypatch, capsys):
    def no_locks(file):
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr("reenact.training.checkpoint.try_lock", no_locks)
    with RunFolder(tmp_path).lock():
        pass
    assert "cannot be locked (Function not implemented); start no second training in it" in capsys.readouterr().out


def test_fingerprint_sees_settings_and_contents_but_not_dates(tmp_path):
    file = tmp_path / "a"
    file.write_text("one")
    first = fingerprint({"x": 1}, [file])
    file.touch()
    assert fingerprint({"x": 1}, [file]) == first
    assert fingerprint({"x": 2}, [file]) != first
    file.write_text("two")
    assert fingerprint({"x": 1}, [file]) != first


def test_other_code_is_another_run(tmp_path):
    paths = {Runs(tmp_path, code).path("meta", {"steps": 3}, []) for code in ("a", "b")}
    assert len(paths) == 2 and all(path.name.startswith("meta-") for path in paths)


def test_only_the_newest_checkpoint_is_read(tmp_path, monkeypatch):
    run, read, loads = RunFolder(tmp_path), torch.load, []
    for step in (1, 2, 3):
        run.save(step, {"step": step})
    monkeypatch.setattr(torch, "load", lambda path, **how: loads.append(path) or read(path, **how))
    assert run.latest(at_most=2) == (2, {"step": 2}) and len(loads) == 1
