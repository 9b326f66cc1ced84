"""A shard: the pictures of many clips in one TAR file, and an index by which any of them is one small read.

Any TAR tool can look inside (`<clip>/000007.jpg`, `<clip>/000007.matte.png`, `<clip>/landmarks.npy`); training never
scans it. The index lies beside it (`.npz`): for each frame 28 bytes that say where its picture and matte are, and their
checksums. 98,000 clips of 32 frames in a hundred shards so need an index of 90 MB and a hundred open files.
"""

import io
import json
import os
import shutil
import tarfile
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from types import TracebackType
from typing import Any, BinaryIO

import cv2
import numpy as np

from reenact.runtime.errors import UserError
from reenact.runtime.files import BINARY, atomic_write, read_at, write_at
from reenact.runtime.locks import try_lock

FORMAT = 1
# Where the picture and the matte of a frame are: the matte begins `matte` bytes behind the picture's beginning.
FRAME = np.dtype(
    [("offset", "<u8"), ("size", "<u4"), ("crc", "<u4"), ("matte", "<u4"), ("matte_size", "<u4"), ("matte_crc", "<u4")]
)
PART = np.dtype([("offset", "<u8"), ("size", "<u4"), ("crc", "<u4")])
_BLOCK = 512
_OPENING = Lock()


def index_of(shard: Path) -> Path:
    """The index that belongs to a shard."""
    return shard.with_suffix(".npz")


# ---- writing ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Pictures:
    """What a shard keeps of one clip.

    Attributes:
        frames: encoded pictures, of one size.
        mattes: encoded mattes, one a frame.
        landmarks: float32 N x 68 x 2, fractions of the side; NaN where unknown.
        suffix: of the pictures' names, such as ".jpg".
        side: px.
    """

    frames: list[bytes]
    mattes: list[bytes]
    landmarks: np.ndarray
    suffix: str
    side: int


class ShardWriter:
    """A shard in the making: clips are added one by one, and stay whatever happens to the process.

    The folder holds `clips.tar` and `journal.jsonl`, a line for every clip, written after its pictures are on disk.
    When work goes on, what the journal does not know is cut off; what cannot be read any more is made anew.

    Args:
        folder: of this shard alone; made if missing.

    Raises:
        UserError: another process works in the folder, or it cannot be written.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._journal = (folder / "journal.jsonl").open("a+b")
        except OSError as error:
            raise _unwritable(folder, error) from error
        _lock(self._journal, folder)
        self.entries: dict[str, dict[str, Any]] = {}
        self.begun: dict[str, int] = {}
        self._tar = os.open(folder / "clips.tar", os.O_RDWR | os.O_CREAT | BINARY, 0o644)
        self._read_journal()
        self._end = max((entry["end"] for entry in self.entries.values()), default=0)
        os.ftruncate(self._tar, self._end)

    def __enter__(self) -> "ShardWriter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._tar)
        self._journal.close()  # and with it the lock

    def has(self, clip: str, stamp: str) -> bool:
        """Whether the clip was added with this stamp."""
        return self.entries.get(clip, {}).get("stamp") == stamp

    def begin(self, clip: str, stamp: str) -> int:
        """Note that work on a clip begins, and forget what was made of it before.

        Returns:
            How often work on it had begun and never ended.
        """
        self.entries.pop(clip, None)
        key = f"{clip}\n{stamp}"
        self._note({"begins": key})
        self.begun[key] = self.begun.get(key, 0) + 1
        return self.begun[key] - 1

    def fail(self, clip: str, stamp: str) -> None:
        """Note that work on a clip ended without anything to add, for a known reason."""
        self._note({"failed": f"{clip}\n{stamp}"})

    def add(self, clip: str, stamp: str, pictures: Pictures) -> None:
        """Add a clip; when this returns it is on disk.

        Args:
            clip: its name.
            stamp: changes when the clip has to be made anew.
            pictures: at least one.
        """
        rows, data, start = [], io.BytesIO(), self._end

        def put(name: str, content: bytes) -> list[int]:
            """Append a member; returns where its content begins in the file, its size and its checksum."""
            entry = tarfile.TarInfo(f"{clip}/{name}")
            entry.size = len(content)
            data.write(entry.tobuf())
            offset = start + data.tell()
            data.write(content + bytes(-len(content) % _BLOCK))
            return [offset, len(content), zlib.crc32(content)]

        for number, (frame, matte) in enumerate(zip(pictures.frames, pictures.mattes, strict=True)):
            picture = put(f"{number:06d}{pictures.suffix}", frame)
            matte_part = put(f"{number:06d}.matte.png", matte)
            rows.append([*picture, matte_part[0] - picture[0], *matte_part[1:]])
        marks = io.BytesIO()
        np.save(marks, pictures.landmarks.astype(np.float16), allow_pickle=False)
        landmarks = put("landmarks.npy", marks.getvalue())
        try:
            _write_at(self._tar, data.getvalue(), start)
            os.fsync(self._tar)
        except OSError as error:
            raise _unwritable(self.folder, error) from error
        entry = {
            "clip": clip,
            "stamp": stamp,
            "end": start + data.tell(),
            "side": pictures.side,
            "frames": rows,
            "landmarks": landmarks,
        }
        self._note(entry)
        self.entries[clip], self._end = entry, entry["end"]

    def publish(self, shard: Path, clips: Sequence[dict[str, str]]) -> None:
        """Give the shard and its index their place. Both links to one file: a shard that grows is not copied.

        Args:
            shard: TAR file to write; the index goes beside it.
            clips: clip, identity and split of those that belong to it, in the order wanted; those that were not added
                are left out.
        """
        kept = [clip for clip in clips if clip["clip"] in self.entries]
        entries = [self.entries[clip["clip"]] for clip in kept]
        rows = [tuple(row) for entry in entries for row in entry["frames"]]
        try:
            _write_at(self._tar, bytes(2 * _BLOCK), self._end)
            os.fsync(self._tar)
        except OSError as error:
            raise _unwritable(self.folder, error) from error
        arrays: dict[str, Any] = {
            "format": np.array(FORMAT),
            "bytes": np.array(self._end),
            "clip": np.array([clip["clip"] for clip in kept], dtype=str),
            "identity": np.array([clip["identity"] for clip in kept], dtype=str),
            "split": np.array([clip["split"] for clip in kept], dtype=str),
            "side": np.array([entry["side"] for entry in entries], np.int32),
            "first": np.cumsum([0, *(len(entry["frames"]) for entry in entries)]),
            "frames": np.array(rows, FRAME),
            "landmarks": np.array([tuple(entry["landmarks"]) for entry in entries], PART),
        }
        with atomic_write(shard) as file, atomic_write(index_of(shard)) as index:
            try:
                os.link(self.folder / "clips.tar", file)
            except OSError:
                # Some file systems have no links.
                shutil.copyfile(self.folder / "clips.tar", file)
            np.savez(index, **arrays)
        # Its last clip may be older than the table that it was made from, and Snakemake compares times.
        os.utime(shard)

    def _note(self, line: dict[str, Any]) -> None:
        try:
            self._journal.write(json.dumps(line).encode() + b"\n")
            self._journal.flush()
            os.fsync(self._journal.fileno())
        except OSError as error:
            raise _unwritable(self.folder, error) from error

    def _read_journal(self) -> None:
        """Learn what earlier processes added, of which all checksums hold."""
        self._journal.seek(0)
        whole = 0
        for line in self._journal:
            try:
                noted = json.loads(line)
            except ValueError:
                break
            whole += len(line)
            if "begins" in noted:
                self.begun[noted["begins"]] = self.begun.get(noted["begins"], 0) + 1
            elif "failed" in noted:
                self.begun.pop(noted["failed"], None)
            else:
                self.entries[noted["clip"]] = noted
                self.begun.pop(f"{noted['clip']}\n{noted['stamp']}", None)
        self._journal.truncate(whole)
        damaged = [clip for clip, entry in self.entries.items() if not self._holds(entry)]
        for clip in damaged:
            print(f"{self.folder}: {clip} is damaged; it is made anew", flush=True)
            del self.entries[clip]

    def _holds(self, entry: dict[str, Any]) -> bool:
        parts = [entry["landmarks"]]
        for offset, size, crc, matte, matte_size, matte_crc in entry["frames"]:
            parts += [(offset, size, crc), (offset + matte, matte_size, matte_crc)]
        return all(zlib.crc32(read_at(self._tar, size, offset)) == crc for offset, size, crc in parts)


def _lock(journal: BinaryIO, folder: Path) -> None:
    """Keep other processes out of a folder until the journal is closed, however this process ends."""
    try:
        locked = try_lock(journal)
    except OSError as error:
        # Some cluster file systems have no locks; Snakemake starts one job a shard, so that work may go on.
        print(f"{folder}: cannot be locked ({error.strerror}); start no second job on this shard", flush=True)
        return
    if not locked:
        journal.close()
        raise UserError(f"{folder}: another process works on this shard; wait for it, or end it")


def _write_at(file: int, data: bytes, offset: int) -> None:
    """Write all of `data`; a disk that runs full takes only some, and then says so."""
    view = memoryview(data)
    while view:
        done = write_at(file, view, offset)
        view, offset = view[done:], offset + done


def _unwritable(folder: Path, error: OSError) -> UserError:
    return UserError(f"{folder}: cannot be written ({error.strerror or error})")


# ---- reading ------------------------------------------------------------------------------------------------


class Shard:
    """A shard opened for reading, by any number of threads at a time.

    Each process opens the file itself when it first asks for a picture: the object can be copied and pickled.

    Args:
        path: the TAR file; its index lies beside it.

    Attributes:
        path: the TAR file.
        clips, identities, splits: names, one a clip.
        sides: of the pictures, px, one a clip.
        first: number of each clip's first frame, and behind them the number of all frames.

    Raises:
        UserError: there is no such shard, its index cannot be read, or it is cut short.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: int | None = None
        index = index_of(path)
        try:
            with np.load(index, allow_pickle=False) as arrays:
                self.clips, self.identities, self.splits = (
                    arrays[name].tolist() for name in ("clip", "identity", "split")
                )
                self.sides, self.first = arrays["side"], arrays["first"]
                self._frames, self._landmarks = arrays["frames"], arrays["landmarks"]
                length, version = int(arrays["bytes"]), int(arrays["format"])
        except (OSError, EOFError, KeyError, ValueError, zipfile.BadZipFile) as error:
            raise UserError(f"{index}: not a readable index of a shard ({error}); {_again(path)}") from None
        if version != FORMAT:
            raise UserError(f"{index}: of format {version}, this program reads {FORMAT}; {_again(path)}")
        if not path.is_file() or path.stat().st_size < length:
            has = f"has {path.stat().st_size:,} bytes of {length:,}" if path.is_file() else "is missing"
            raise UserError(f"{path}: {has}; {_again(path)}")

    def __len__(self) -> int:
        return len(self.clips)

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_file": None}

    def __del__(self) -> None:
        if (file := self.__dict__.get("_file")) is not None:
            os.close(file)

    def frame(self, clip: int, number: int) -> np.ndarray:
        """Picture of one frame of a clip: uint8 S x S x 3. One read."""
        row = self._frames[self.first[clip] + number]
        return self._decoded(clip, number, int(row["offset"]), int(row["size"]), int(row["crc"]), cv2.IMREAD_COLOR_RGB)

    def matte(self, clip: int, number: int) -> np.ndarray:
        """Matte of one frame of a clip: uint8 S x S. One read."""
        row = self._frames[self.first[clip] + number]
        return self._decoded(
            clip,
            number,
            int(row["offset"]) + int(row["matte"]),
            int(row["matte_size"]),
            int(row["matte_crc"]),
            cv2.IMREAD_GRAYSCALE,
        )

    def landmarks(self, clip: int) -> np.ndarray:
        """Landmarks of all frames of a clip: float32 N x 68 x 2, fractions of the side; NaN where unknown. One read."""
        offset, size, crc = (int(value) for value in self._landmarks[clip])
        return np.load(io.BytesIO(self._read(offset, size, crc, self.clips[clip])), allow_pickle=False).astype(
            np.float32
        )

    def _decoded(self, clip: int, number: int, offset: int, size: int, crc: int, flags: int) -> np.ndarray:
        what = f"{self.clips[clip]}, frame {number}"
        pixels = cv2.imdecode(np.frombuffer(self._read(offset, size, crc, what), np.uint8), flags)
        if pixels is None:
            raise UserError(f"{self.path}: {what} cannot be decoded; {_again(self.path)}")
        return pixels

    def _read(self, offset: int, size: int, crc: int, what: str) -> bytes:
        try:
            with _OPENING:
                if self._file is None:
                    self._file = os.open(self.path, os.O_RDONLY | BINARY)
            data = read_at(self._file, size, offset)
        except OSError as error:
            raise UserError(f"{self.path}: {what} cannot be read ({error.strerror})") from error
        if zlib.crc32(data) != crc:
            raise UserError(f"{self.path}: {what} is damaged; {_again(self.path)}")
        return data


def _again(path: Path) -> str:
    return f"delete {path.name} and run again: what is whole is kept, the rest is made anew"
