"""Shards: what is added stays, what is damaged is named, and one sample is ten small reads."""

import copy
import fcntl
import os
import signal
import subprocess
import sys
import tarfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pytest
from people import disc

from reenact.data.shard_file import Pictures, Shard, ShardWriter, index_of
from reenact.runtime.errors import UserError


def pictures(colour=(200, 80, 40), frames=4, size=64):
    made = [disc(colour, 0.3 + 0.1 * n, 0.5, size) for n in range(frames)]
    encoded = [[cv2.imencode(".png", image)[1].tobytes() for image in images] for images in zip(*made, strict=True)]
    return Pictures(*encoded, np.full((frames, 68, 2), 0.25, np.float32), ".png", size)


def write(folder, clips=("a/1", "b/2"), split="train"):
    rows = [{"clip": name, "identity": name.split("/")[0], "split": split} for name in clips]
    with ShardWriter(folder / "work") as writer:
        for name in clips:
            if not writer.has(name, "s"):
                writer.begin(name, "s")
                writer.add(name, "s", pictures())
        writer.publish(folder / "shard.tar", rows)
    return folder / "shard.tar"


def test_what_is_written_is_read(tmp_path):
    shard = Shard(write(tmp_path))
    assert shard.clips == ["a/1", "b/2"] and shard.identities == ["a", "b"] and shard.first.tolist() == [0, 4, 8]
    picture, matte = disc((200, 80, 40), 0.5, 0.5, 64)
    assert np.array_equal(shard.frame(1, 2), picture[..., ::-1]) and np.array_equal(shard.matte(1, 2), matte)
    assert shard.landmarks(0).shape == (4, 68, 2) and shard.landmarks(0).max() == 0.25


def test_any_tar_tool_can_look_inside(tmp_path):
    with tarfile.open(write(tmp_path)) as archive:
        names = archive.getnames()
        assert (
            names[:3] == ["a/1/000000.png", "a/1/000000.matte.png", "a/1/000001.png"] and "b/2/landmarks.npy" in names
        )
        assert cv2.imdecode(np.frombuffer(archive.extractfile("b/2/000003.png").read(), np.uint8), 1).shape == (
            64,
            64,
            3,
        )


def test_one_picture_is_one_read_by_many_threads_and_after_copying(tmp_path, monkeypatch):
    opened = Shard(write(tmp_path))
    assert opened.frame(0, 0).shape == (64, 64, 3)
    shard = copy.deepcopy(opened)
    assert shard._file is None
    reads, read = [], os.pread
    monkeypatch.setattr(os, "pread", lambda file, size, offset: reads.append(size) or read(file, size, offset))
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda n: shard.frame(n % 2, n % 4), range(64)))
    assert len(reads) == 64 and max(reads) < 2000
    assert all(np.array_equal(found[n], found[n % 4]) for n in range(64))


def test_a_clip_that_was_not_finished_is_cut_off(tmp_path):
    write(tmp_path, ["a/1"])
    with (tmp_path / "work" / "clips.tar").open("ab") as file:
        file.write(b"half a clip")
    with (tmp_path / "work" / "journal.jsonl").open("a") as file:
        file.write('{"clip": "b/2", "stamp": "s", "en')
    with ShardWriter(tmp_path / "work") as writer:
        assert list(writer.entries) == ["a/1"]
    shard = Shard(write(tmp_path))
    assert shard.clips == ["a/1", "b/2"] and shard.frame(1, 3).shape == (64, 64, 3)


def test_a_damaged_picture_is_named_and_made_anew(tmp_path, capsys):
    path = write(tmp_path)
    offset = int(Shard(path)._frames["offset"][5])
    with path.open("r+b") as file:
        file.seek(offset + 40)
        file.write(b"\0\0\0\0")
    shard = Shard(path)
    assert shard.frame(0, 1).shape == (64, 64, 3)
    with pytest.raises(UserError, match=r"shard\.tar: b/2, frame 1 is damaged; delete shard\.tar and run again"):
        shard.frame(1, 1)
    path.unlink()
    assert Shard(write(tmp_path)).frame(1, 1).shape == (64, 64, 3)
    assert "b/2 is damaged; it is made anew" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("damage", "expected"),
    [
        (
            lambda path: os.truncate(path, 3000),
            r"shard\.tar: has 3,000 bytes of [\d,]+; delete shard\.tar and run again",
        ),
        (lambda path: path.unlink(), r"shard\.tar: is missing"),
        (lambda path: index_of(path).unlink(), r"shard\.npz: not a readable index of a shard"),
        (lambda path: os.truncate(index_of(path), 300), r"shard\.npz: not a readable index of a shard"),
        (lambda path: index_of(path).write_bytes(b""), r"shard\.npz: not a readable index of a shard"),
    ],
)
def test_a_corrupt_shard_is_named(tmp_path, damage, expected):
    path = write(tmp_path)
    damage(path)
    with pytest.raises(UserError, match=expected):
        Shard(path)


def test_two_processes_do_not_write_one_shard(tmp_path):
    with ShardWriter(tmp_path / "work"), pytest.raises(UserError, match="another process works on this shard"):
        ShardWriter(tmp_path / "work")


def test_a_file_system_without_locks_is_good_enough(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(fcntl, "flock", lambda *_: (_ for _ in ()).throw(OSError(38, "Function not implemented")))
    assert len(Shard(write(tmp_path))) == 2
    assert "cannot be locked (Function not implemented)" in capsys.readouterr().out


def test_a_full_disk_keeps_what_is_there(tmp_path, monkeypatch):
    write(tmp_path, ["a/1"])
    monkeypatch.setattr(os, "pwrite", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with (
        ShardWriter(tmp_path / "work") as writer,
        pytest.raises(UserError, match=r"work: cannot be written \(No space left on device\)"),
    ):
        writer.add("b/2", "s", pictures())
    monkeypatch.undo()
    assert Shard(write(tmp_path)).clips == ["a/1", "b/2"]


WRITER = """
import sys, time
sys.path[:0] = {paths}
from pathlib import Path
from test_shard_file import pictures
from reenact.data.shard_file import ShardWriter
with ShardWriter(Path(sys.argv[1])) as writer:
    for number in range(1000):
        writer.begin(f"c/{{number}}", "s")
        writer.add(f"c/{{number}}", "s", pictures(frames=20, size=128))
        print(number, flush=True)
"""


def test_kill_9_while_it_writes(tmp_path):
    script = WRITER.format(paths=[str(Path(__file__).parent), str(Path(__file__).parents[1] / "support"), os.getcwd()])
    with subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path / "work")], stdout=subprocess.PIPE, text=True
    ) as process:
        for _ in range(5):
            said = int(process.stdout.readline())
        process.send_signal(signal.SIGKILL)
    with ShardWriter(tmp_path / "work") as writer:
        assert len(writer.entries) >= said + 1
        assert max(entry["end"] for entry in writer.entries.values()) == os.path.getsize(
            tmp_path / "work" / "clips.tar"
        )
