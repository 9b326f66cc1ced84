"""Stage dataset: tables and folders of clips, and who only validates."""

import sys

import pandas as pd
import pytest

from reenact.runtime.errors import UserError
from reenact.settings.dataset import DatasetSettings
from reenact.stages.dataset import COLUMNS, assign_splits, list_clips


def listed(source, folder, shards=4, **settings):
    list_clips(source=source, clips=folder / "clips.csv", shards=shards, settings=DatasetSettings(**settings))
    return pd.read_csv(folder / "clips.csv", dtype=str, keep_default_na=False).set_index("clip", drop=False)


def write_table(folder, rows, columns=("clip", "identity", "path")):
    path = folder / "set.csv"
    pd.DataFrame(rows, columns=list(columns)).to_csv(path, index=False)
    return path


def many(people, clips):
    return [
        (f"p{person}/{clip}", f"p{person}", f"{person}-{clip}.mp4") for person in range(people) for clip in range(clips)
    ]


def test_a_table_of_clips(tmp_path):
    table = listed(write_table(tmp_path, many(10, 3)), tmp_path, validation=0.25)
    assert list(table.columns) == COLUMNS and len(table) == 30
    assert table["path"].iloc[0] == str(tmp_path / "0-0.mp4")
    assert set(table["shard"]) == {"0", "1", "2", "3"}


def test_validation_is_by_identity_never_by_clip(tmp_path, capsys):
    table = listed(write_table(tmp_path, many(10, 3)), tmp_path, validation=0.25)
    assert table.groupby("identity")["split"].nunique().max() == 1
    assert table.loc[table["split"] == "validation", "identity"].nunique() == 3
    assert "train on 21 clips of 7 people, validate on 9 clips of 3 people" in capsys.readouterr().out


def test_later_clips_move_no_other(tmp_path):
    before = listed(write_table(tmp_path, many(10, 3)), tmp_path)
    after = listed(write_table(tmp_path, many(10, 5)), tmp_path)
    assert (after.loc[before.index, ["shard", "split"]] == before[["shard", "split"]]).all(axis=None)


def test_given_splits_stay_and_nobody_is_in_both(tmp_path, capsys):
    rows = [
        ("1", "anna", "1.mp4", "val", "60%"),
        ("2", "anna", "2.mp4", "train", ""),
        ("3", "bob", "3.mp4", "", ""),
        ("4", "eve", "4.mp4", "unused", ""),
    ]
    table = listed(
        write_table(tmp_path, rows, ("clip", "identity", "path", "split", "start")), tmp_path, validation=0.5
    )
    assert table["split"].tolist() == ["validation", "unused", "train", "unused"] and table["start"].tolist() == [
        "60%",
        "",
        "",
        "",
    ]
    assert (
        "1 clips to train on are left out, because 1 people in them are also validated on: anna"
        in capsys.readouterr().out
    )


def test_no_validation_where_none_is_wanted():
    table = pd.DataFrame({"identity": ["a", "b"], "split": ["", ""]})
    assert assign_splits(table, 0.0).tolist() == ["train", "train"]


@pytest.mark.parametrize(
    ("rows", "columns", "expected"),
    [
        ([("1", "a")], ("clip", "identity"), r"set\.csv: lacks the column path; it has clip, identity"),
        ([("1", "a", "1.mp4"), ("1", "b", "2.mp4")], ("clip", "identity", "path"), r"clip '1' stands twice"),
        ([("1", "", "1.mp4")], ("clip", "identity", "path"), r"row 1 says no identity"),
        ([("../1", "a", "1.mp4")], ("clip", "identity", "path"), r"clip '\.\./1': a name must not"),
        (
            [("1", "a", "1.mp4", "test")],
            ("clip", "identity", "path", "split"),
            r"split 'test' is unknown; allowed: train, validation, unused",
        ),
        ([("1", "a", "1.mp4", "half")], ("clip", "identity", "path", "end"), r"end 'half' must be seconds"),
        (
            [("1", "a", "1.mp4", "val")],
            ("clip", "identity", "path", "split"),
            r"no clip is left to train on; 1 clips of 1 people only validate",
        ),
        ([], ("clip", "identity", "path"), r"set\.csv: holds no clip"),
    ],
)
def test_each_mistake_in_a_table_is_named(tmp_path, rows, columns, expected):
    with pytest.raises(UserError, match=expected):
        listed(write_table(tmp_path, rows, columns), tmp_path)


def test_what_is_no_table_is_named(tmp_path):
    (tmp_path / "set.xlsx").write_text("x")
    with pytest.raises(
        UserError, match=r"set\.xlsx: a meta-learning set is a folder, or a table that ends in \.csv or \.parquet"
    ):
        listed(tmp_path / "set.xlsx", tmp_path)
    (tmp_path / "set.csv").write_bytes(b"\xff\xfe\x00\x01")
    with pytest.raises(UserError, match=r"set\.csv: cannot be read as a table"):
        listed(tmp_path / "set.csv", tmp_path)


def test_parquet_without_its_package_is_a_clear_error(tmp_path, monkeypatch):
    (tmp_path / "set.parquet").write_bytes(b"PAR1")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.setitem(sys.modules, "fastparquet", None)
    with pytest.raises(
        UserError, match=r"set\.parquet: reading Parquet needs the package pyarrow; pip install 'reenact\[parquet\]'"
    ):
        listed(tmp_path / "set.parquet", tmp_path)


def test_parquet(tmp_path):
    pytest.importorskip("pyarrow")
    rows = pd.DataFrame(many(4, 2), columns=["clip", "identity", "path"]).assign(start=[1.5, None] * 4)
    rows.to_parquet(tmp_path / "set.parquet")
    table = listed(tmp_path / "set.parquet", tmp_path)
    assert len(table) == 8 and table["start"].tolist()[:2] == ["1.5", ""]


# ---- folders ------------------------------------------------------------------------------------------------


@pytest.fixture
def voxceleb(tmp_path):
    """`<identity>/<video>/<utterance>.mp4`, as VoxCeleb2 is unpacked."""
    for name in (
        "id1/Ab_1/00001.mp4",
        "id1/Ab_1/00002.mp4",
        "id1/Cd-2/00001.mp4",
        "id2/Ef/00001.mp4",
        "id3/gh.mp4",
        "id4/photo.jpg",
        "notes.txt",
    ):
        path = tmp_path / "vox" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return tmp_path / "vox"


def test_a_folder_of_identities(tmp_path, voxceleb):
    table = listed(voxceleb, tmp_path)
    assert table["identity"].to_dict() == {
        "id1/Ab_1": "id1",
        "id1/Cd-2": "id1",
        "id2/Ef": "id2",
        "id3/gh.mp4": "id3",
        "id4": "id4",
    }
    assert table.loc["id1/Ab_1", "path"] == str(voxceleb / "id1" / "Ab_1")


def test_the_published_layout_with_its_split_files(tmp_path, capsys):
    """Crops as `images-cropped/<identity>/<video>`; split files with a column `path`, which share an identity."""
    for name in ("id1/a", "id1/b", "id2/c", "id3/d", "id4/e"):
        (tmp_path / "images-cropped" / name).mkdir(parents=True)
    (tmp_path / "train.csv").write_text("Unnamed: 0,path\n68327,id1/a\n66130,id2/c\n24336,id3/d\n98001,id1/b\n")
    (tmp_path / "val.csv").write_text("Unnamed: 0,path\n98000,id3/d\n98001,id1/b\n")
    table = listed(
        tmp_path, tmp_path, train_split=str(tmp_path / "train.csv"), validation_split=str(tmp_path / "val.csv")
    )
    assert table["split"].to_dict() == {
        "id1/a": "unused",
        "id2/c": "train",
        "id3/d": "validation",
        "id1/b": "validation",
    }
    assert table.loc["id2/c", "path"] == str(tmp_path / "images-cropped" / "id2" / "c")
    assert "1 clips to train on are left out" in capsys.readouterr().out


def test_a_validation_split_alone(tmp_path, voxceleb):
    (tmp_path / "val.csv").write_text("path\nid1/Ab_1\n")
    table = listed(voxceleb, tmp_path, validation_split=str(tmp_path / "val.csv"))
    assert table["split"].to_dict() == {
        "id1/Ab_1": "validation",
        "id1/Cd-2": "unused",
        "id2/Ef": "train",
        "id3/gh.mp4": "train",
        "id4": "train",
    }


def test_mistakes_in_folders_are_named(tmp_path, voxceleb):
    (tmp_path / "val.csv").write_text("video\nid1/Ab_1\n")
    with pytest.raises(UserError, match=r"val\.csv: a split file needs a column `path`"):
        listed(voxceleb, tmp_path, validation_split=str(tmp_path / "val.csv"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="empty: holds no clip"):
        listed(tmp_path / "empty", tmp_path)
