"""Stage `dataset`: the meta-learning set as one table: its clips, whose they are, and who only validates.

Media are not looked at here, and with split files not even listed: 150,000 clips take seconds on any file system.
"""

import os
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import numpy as np
import pandas as pd

from reenact.media.photos import CROPPED
from reenact.runtime.errors import UserError
from reenact.runtime.files import write_text
from reenact.settings.dataset import DatasetSettings
from reenact.settings.decode import read_time

COLUMNS = ["clip", "identity", "path", "start", "end", "split", "shard"]
NEEDED, OPTIONAL = COLUMNS[:3], COLUMNS[3:6]
TRAIN, VALIDATION, UNUSED = "train", "validation", "unused"
VIDEO_SUFFIXES = (".mp4", ".mov", ".m4v", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".ts", ".wmv", ".flv", ".3gp")


def list_clips(*, source: Path, clips: Path, shards: int, settings: DatasetSettings) -> None:
    """Write the table of all clips of a meta-learning set, with the columns COLUMNS.

    `path` is relative to the working directory, or absolute; `split` is train, validation or unused; `shard` a number
    from 0. The shard of a clip follows from its name, so that clips that join later move no other.

    Args:
        source: a table (.csv, .parquet) with the columns NEEDED and any of OPTIONAL, paths relative to its folder; or a
            folder that holds `<identity>/<video>` (a folder of images or videos, or a video) or `<identity>/*.jpg`; or
            one that holds such a folder under the name `images-cropped` (then `segmentation-cropped` beside it is used)
            or `videos`.
        clips: table to write (.csv).
        shards: how many there are.
        settings: split files, and the share of the identities that only validate.

    Raises:
        UserError: the table, the folder or a split file is not what it should be, or no clip is left to train on.
    """
    table = _from_folder(source, settings) if source.is_dir() else read_table(source)
    _check(table, source)
    given = table["split"].to_numpy(object)
    table["split"] = assign_splits(table, settings.validation)
    if not (table["split"] == TRAIN).any():
        raise UserError(
            f"{source}: no clip is left to train on; {_count(table, VALIDATION)} only validate "
            f"(dataset.validation: {settings.validation})"
        )
    table["shard"] = [zlib.crc32(clip.encode()) % shards for clip in table["clip"]]
    write_text(clips, table[COLUMNS].to_csv(index=False))
    print(
        f"dataset: {source}: train on {_count(table, TRAIN)}, validate on {_count(table, VALIDATION)}, {shards} shards",
        flush=True,
    )
    left_out = (table["split"] == UNUSED) & (given != UNUSED)
    if left_out.any():
        names = table.loc[left_out, "identity"].unique()
        print(
            f"dataset: {left_out.sum()} clips to train on are left out, because {len(names)} people in them are also "
            f"validated on: {', '.join(names[:5])}{' ...' if len(names) > 5 else ''}",
            flush=True,
        )


def assign_splits(table: pd.DataFrame, fraction: float) -> np.ndarray:
    """Train, validation or unused, for every clip: an identity only ever trains or only ever validates.

    Args:
        table: columns identity and split; '' where nothing is said.
        fraction: of the identities that validate, where no row says who does. Who it is follows from the names.

    Returns:
        One of TRAIN, VALIDATION, UNUSED a row. Unused are clips to train on of somebody who is validated on: the
        published split files share some people.
    """
    split = table["split"].to_numpy(object).copy()
    if not (split != "").any():
        names = sorted(set(table["identity"]), key=lambda name: (zlib.crc32(name.encode()), name))
        chosen = names[: int(np.ceil(fraction * len(names) - 1e-9))]
        return np.where(table["identity"].isin(chosen), VALIDATION, TRAIN).astype(object)
    split[split == ""] = TRAIN
    seen = set(table.loc[split == VALIDATION, "identity"])
    split[(split == TRAIN) & table["identity"].isin(seen).to_numpy()] = UNUSED
    return split


# ---- tables -------------------------------------------------------------------------------------------------


def read_table(path: Path) -> pd.DataFrame:
    """The columns NEEDED and OPTIONAL of a table of clips, as text ('' = nothing said).

    Paths are turned from relative to the table into relative to the working directory.

    Raises:
        UserError: it cannot be read, lacks columns, or a cell is not what it should be.
    """
    table = _text(path)
    missing = [name for name in NEEDED if name not in table]
    if missing:
        raise UserError(
            f"{path}: lacks the column{'s' * (len(missing) > 1)} {', '.join(missing)}; it has "
            f"{', '.join(map(str, table.columns))}"
        )
    table = table.reindex(columns=[*NEEDED, *OPTIONAL], fill_value="").astype(object)
    for name in NEEDED:
        empty = np.flatnonzero((table[name] == "").to_numpy())
        if len(empty):
            raise UserError(f"{path}: row {empty[0] + 1} says no {name}; every clip needs {', '.join(NEEDED)}")
    table["split"] = table["split"].replace("val", VALIDATION)
    unknown = ~table["split"].isin(["", TRAIN, VALIDATION, UNUSED])
    if unknown.any():
        first = table.loc[unknown, "split"].iloc[0]
        raise UserError(f"{path}: split {first!r} is unknown; allowed: {TRAIN}, {VALIDATION}, {UNUSED}")
    for end in ("start", "end"):
        wrong = [value for value in table[end].unique() if value and read_time(value) is None]
        if wrong:
            raise UserError(f'{path}: {end} {wrong[0]!r} must be seconds, "1:30", or "60%" of the duration')
    table["path"] = [os.path.join(path.parent, value) for value in table["path"]]
    return table


def _text(path: Path) -> pd.DataFrame:
    """A CSV or Parquet table, every cell as text."""
    try:
        if path.suffix.lower() == ".csv":
            return pd.read_csv(path, dtype=str, keep_default_na=False)
        if path.suffix.lower() in (".parquet", ".pq"):
            table = pd.read_parquet(path)
            return table.astype(object).where(table.notna(), "").astype(str)
    except ImportError as error:
        why = str(error).splitlines()[0]
        raise UserError(
            f"{path}: reading Parquet needs the package pyarrow; pip install 'reenact[parquet]', or write the table as "
            f".csv ({why})"
        ) from None
    except (OSError, ValueError, pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        # ValueError is also what pandas and pyarrow raise for a file that is no table.
        raise UserError(f"{path}: cannot be read as a table ({str(error).splitlines()[0]})") from None
    raise UserError(f"{path}: a meta-learning set is a folder, or a table that ends in .csv or .parquet")


def _check(table: pd.DataFrame, source: Path) -> None:
    if table.empty:
        raise UserError(f"{source}: holds no clip")
    twice = table["clip"].duplicated()
    if twice.any():
        raise UserError(
            f"{source}: clip {table.loc[twice, 'clip'].iloc[0]!r} stands twice; every clip needs a name of its own"
        )
    odd = next((name for name in table["clip"] if name.startswith("/") or ".." in PurePosixPath(name).parts), None)
    if odd:
        raise UserError(
            f"{source}: clip {odd!r}: a name must not begin with / or hold .., since it becomes the name of a folder"
        )


def _count(table: pd.DataFrame, split: str) -> str:
    part = table[table["split"] == split]
    return f"{len(part)} clips of {part['identity'].nunique()} people"


# ---- folders ------------------------------------------------------------------------------------------------


def _from_folder(folder: Path, settings: DatasetSettings) -> pd.DataFrame:
    """The clips of a folder, those that the split files name or all that are there."""
    root = next((folder / name for name in (CROPPED, "videos") if (folder / name).is_dir()), folder)
    files = {TRAIN: settings.train_split, VALIDATION: settings.validation_split}
    rows = [(clip, split) for split, file in files.items() if file for clip in _read_split(Path(file))]
    if settings.train_split is None:
        named = {clip for clip, _ in rows}
        rows += [(clip, TRAIN if rows else "") for clip in _walk(root) if clip not in named]
    table = pd.DataFrame(rows, columns=["clip", "split"], dtype=object)
    # The published files name some clips in both; who validates does not train.
    table = (
        table.sort_values("split", key=lambda split: split != VALIDATION, kind="stable")
        .drop_duplicates("clip")
        .sort_index()
    )
    table["identity"] = [clip.split("/")[0] for clip in table["clip"]]
    table["path"] = [os.path.join(root, clip) for clip in table["clip"]]
    return table.assign(start="", end="").reset_index(drop=True)


def _read_split(path: Path) -> list[str]:
    """The clips that a split file names, in its order."""
    table = _text(path)
    if "path" not in table:
        raise UserError(
            f"{path}: a split file needs a column `path`, such as id00984/Y4tEmpCjtVk; it has "
            f"{', '.join(map(str, table.columns))}"
        )
    return [PurePosixPath(value).as_posix() for value in table["path"] if value]


def _walk(root: Path) -> Iterator[str]:
    """Names of the clips below a folder of identities: each one's folders and videos, or where it has none, itself."""
    for identity in _entries(root):
        if not identity.is_dir():
            continue
        below = [
            entry for entry in _entries(Path(identity)) if entry.is_dir() or entry.name.lower().endswith(VIDEO_SUFFIXES)
        ]
        yield from [f"{identity.name}/{entry.name}" for entry in below] or [identity.name]


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        return sorted(
            (entry for entry in os.scandir(folder) if not entry.name.startswith(".")), key=lambda entry: entry.name
        )
    except OSError as error:
        raise UserError(f"{folder}: cannot be listed ({error.strerror})") from None
