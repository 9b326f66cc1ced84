"""Stage shard: many clips in one job; broken ones are recorded, finished ones stay."""

import os
import signal
import subprocess
import sys
import time

import cv2
import numpy as np
import pandas as pd
import pytest
from person_clips import oval, portrait, swaying
from tree import ROOT
from videos import texture, write_video

import reenact.stages.shard
from reenact.data.shard_file import Shard, ShardWriter, index_of
from reenact.runtime.errors import UserError
from reenact.settings.crop import CropSettings
from reenact.settings.dataset import DatasetSettings
from reenact.settings.decode import DecodeSettings
from reenact.settings.segment import SegmentSettings
from reenact.settings.shard import ShardSettings
from reenact.stages.dataset import list_clips
from reenact.stages.shard import Preparation, ShardNumber, ShardOutputs, make_shard

CROPS = CropSettings(size=64)


@pytest.fixture(scope="module")
def media(tmp_path_factory):
    """Three videos of a face, one without, an empty file."""
    folder = tmp_path_factory.mktemp("media")
    frames = swaying(12)
    for number in range(3):
        write_video(folder / f"good{number}.mp4", frames[2 * number :] + frames[: 2 * number])
    write_video(folder / "nobody.mp4", [texture(128, 128, n) for n in range(4)])
    (folder / "empty.mp4").touch()
    return folder


def prepare(media, folder, names, shards=1):
    """The table of stage dataset for some of the media, one identity each."""
    table = folder / "set.csv"
    rows = [(f"{name}/1", name, media / f"{name}.mp4") for name in names]
    pd.DataFrame(rows, columns=["clip", "identity", "path"]).to_csv(table, index=False)
    list_clips(source=table, clips=folder / "clips.csv", shards=shards, settings=DatasetSettings(validation=0.0))


def make(folder, crop=CROPS, code="c", **settings):
    outputs = ShardOutputs(folder / "shard.tar", folder / "failures.csv")
    make_shard(
        clips=folder / "clips.csv",
        number=ShardNumber(0, 1),
        outputs=outputs,
        runs=folder / "runs",
        code=code,
        settings=Preparation(DecodeSettings(), crop, SegmentSettings(), ShardSettings(**{"frames": 5, **settings})),
    )
    return Shard(outputs.shard), pd.read_csv(outputs.failures)


def test_good_clips_are_kept_and_broken_ones_recorded(media, tmp_path):
    prepare(media, tmp_path, ["good0", "empty", "good1", "nobody"])
    shard, failures = make(tmp_path, max_failed=0.5)
    assert shard.clips == ["good0/1", "good1/1"] and np.diff(shard.first).tolist() == [5, 5]
    assert shard.frame(0, 0).shape == (64, 64, 3) and shard.matte(1, 4).shape == (64, 64)
    assert 0.2 < shard.landmarks(0).mean() < 0.8
    assert failures["clip"].tolist() == ["empty/1", "nobody/1"]
    assert (
        "empty.mp4: the file is empty (0 bytes)" in failures["reason"][0] and "no face found" in failures["reason"][1]
    )


def test_jpeg_is_close_and_png_exact(media, tmp_path):
    prepare(media, tmp_path, ["good0"])
    exact, _ = make(tmp_path, format="png")
    frames = [exact.frame(0, n).astype(float) for n in range(5)]
    close, _ = make(tmp_path)
    assert all(0 < np.abs(close.frame(0, n) - frames[n]).mean() < 2 for n in range(5))
    assert os.path.getsize(close.path) < 0.6 * sum(frame.size for frame in frames)


def test_too_many_failures_stop_the_job_and_what_was_made_stays(media, tmp_path, monkeypatch):
    prepare(media, tmp_path, ["good0", "good1", "empty", "nobody"])
    with pytest.raises(
        UserError,
        match=r"2 of 4 clips of this shard failed, shard\.max_failed allows 1; the last: nobody/1: .*failures\.csv",
    ):
        make(tmp_path, max_failed=0.25)
    assert not (tmp_path / "shard.tar").exists()
    (recorded,) = (tmp_path / "runs").glob("*/failures.csv")
    assert pd.read_csv(recorded)["clip"].tolist() == ["empty/1", "nobody/1"]
    made = []
    crop = reenact.stages.shard.crop_clip
    monkeypatch.setattr(
        reenact.stages.shard, "crop_clip", lambda **given: made.append(given["media"].stem) or crop(**given)
    )
    shard, _ = make(tmp_path, max_failed=0.5)
    assert shard.clips == ["good0/1", "good1/1"] and made == ["nobody"]


def test_a_table_that_grew_makes_only_what_is_new(media, tmp_path, monkeypatch):
    prepare(media, tmp_path, ["good0"])
    make(tmp_path)
    prepare(media, tmp_path, ["good1", "good0"])
    made = []
    crop = reenact.stages.shard.crop_clip
    monkeypatch.setattr(
        reenact.stages.shard, "crop_clip", lambda **given: made.append(given["media"].stem) or crop(**given)
    )
    shard, _ = make(tmp_path)
    assert shard.clips == ["good1/1", "good0/1"] and made == ["good1"]
    make(tmp_path, code="changed")
    assert made == ["good1", "good1", "good0"] and len(list((tmp_path / "runs").iterdir())) == 1


def test_what_was_made_of_replaced_media_is_forgotten(media, tmp_path):
    for name in ("good0", "good1"):
        os.link(media / f"{name}.mp4", tmp_path / f"{name}.mp4")
    prepare(tmp_path, tmp_path, ["good0", "good1"])
    make(tmp_path)
    (tmp_path / "good0.mp4").unlink()
    (tmp_path / "good0.mp4").touch()
    shard, failures = make(tmp_path, max_failed=0.5)
    assert shard.clips == ["good1/1"] and failures["clip"].tolist() == ["good0/1"]


def test_a_full_disk_is_no_clips_fault(media, tmp_path, monkeypatch):
    prepare(media, tmp_path, ["good0", "good1"])

    def full(**given):
        raise UserError("crops.zip: cannot be written") from OSError(28, "No space left on device")

    monkeypatch.setattr(reenact.stages.shard, "crop_clip", full)
    with pytest.raises(UserError, match=r"crops\.zip: cannot be written"):
        make(tmp_path, max_failed=1.0)


def test_a_clip_that_kills_the_process_is_left_out_in_the_end(media, tmp_path, monkeypatch):
    prepare(media, tmp_path, ["good0", "good1"])

    class Killed(BaseException):
        """Stands for what leaves no time to note anything."""

    def die(**given):
        raise Killed

    monkeypatch.setattr(reenact.stages.shard, "decode_clip", die)
    for _ in range(3):
        with pytest.raises(Killed):
            make(tmp_path, max_failed=0.5)
    monkeypatch.undo()
    shard, failures = make(tmp_path, max_failed=0.5)
    assert shard.clips == ["good1/1"] and failures["reason"][0] == "the job died 3 times while it worked on this clip"


def test_kill_9_and_the_same_command(media, tmp_path):
    prepare(media, tmp_path, ["good0", "good1", "good2"])
    whole, _ = make(tmp_path)
    crops = [[whole.frame(clip, n) for n in range(5)] for clip in range(3)]
    whole.path.unlink()
    command = [
        sys.executable,
        "-m",
        "workflow_scripts.shard",
        "--clips",
        tmp_path / "clips.csv",
        "--number",
        "0",
        "--shards",
        "1",
        "--shard",
        tmp_path / "killed.tar",
        "--failures",
        tmp_path / "killed.csv",
        "--runs",
        tmp_path / "killed",
        "--settings",
        "{frames: 5}",
        "--crop-settings",
        "{size: 64}",
    ]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + 120
        while (
            not [f for f in (tmp_path / "killed").glob("*/journal.jsonl") if b'"frames"' in f.read_bytes()]
            and time.monotonic() < deadline
        ):
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
    assert not (tmp_path / "killed.tar").exists()
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "3 clips, 1 of them finished" in done.stdout or "3 clips, 2 of them finished" in done.stdout
    shard = Shard(tmp_path / "killed.tar")
    assert shard.clips == ["good0/1", "good1/1", "good2/1"]
    assert all(np.array_equal(shard.frame(clip, n), crops[clip][n]) for clip in range(3) for n in range(5))


def test_a_folder_of_videos_is_one_clip(media, tmp_path, monkeypatch):
    folder = tmp_path / "vox" / "id1" / "video"
    folder.mkdir(parents=True)
    for target, source in (("00001.mp4", "good0"), ("00002.mp4", "empty"), ("00010.mp4", "good1")):
        os.link(media / f"{source}.mp4", folder / target)
    list_clips(
        source=tmp_path / "vox", clips=tmp_path / "clips.csv", shards=1, settings=DatasetSettings(validation=0.0)
    )
    shard, failures = make(tmp_path, frames=9)
    assert shard.clips == ["id1/video"] and shard.first[-1] == 6
    assert failures["path"].tolist() == [str(folder / "00002.mp4")]


def test_the_published_layout_with_its_mattes(tmp_path):
    for name, matte in (("1", oval()), ("2", oval()), ("3", np.zeros((256, 256), np.uint8))):
        for kind, suffix, image in (
            ("images-cropped", "jpg", portrait(turn=5 * int(name))),
            ("segmentation-cropped", "png", matte),
        ):
            path = tmp_path / kind / "id1" / "video" / f"{name}.{suffix}"
            path.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(path), image[..., ::-1] if image.ndim == 3 else image)
    list_clips(source=tmp_path, clips=tmp_path / "clips.csv", shards=1, settings=DatasetSettings(validation=0.0))
    shard, failures = make(tmp_path, crop=CropSettings(size=256))
    # The third matte leaves out the face.
    assert shard.clips == ["id1/video"] and shard.first[-1] == 2 and failures.empty
    assert np.array_equal(shard.matte(0, 0), oval())


def test_one_frame_is_not_enough_where_nothing_else_is_said(media, tmp_path):
    prepare(media, tmp_path, ["good0", "good1"])
    table = pd.read_csv(tmp_path / "clips.csv", dtype=str)
    table.loc[0, "end"] = "0.03"
    table.to_csv(tmp_path / "clips.csv", index=False)
    _, failures = make(tmp_path, max_failed=0.5)
    assert failures["reason"].tolist() == ["1 frame can be used, and 2 are needed"]
    shard, failures = make(tmp_path, min_frames=1)
    assert len(shard.clips) == 2 and failures.empty


def test_a_shard_without_clips_is_a_shard(media, tmp_path):
    prepare(media, tmp_path, ["good0"])
    table = pd.read_csv(tmp_path / "clips.csv").assign(shard=1)
    table.to_csv(tmp_path / "clips.csv", index=False)
    shard, failures = make(tmp_path)
    assert len(shard) == 0 and failures.empty and index_of(shard.path).exists()


def test_a_job_leaves_no_half_clips_behind(media, tmp_path):
    prepare(media, tmp_path, ["good0"])
    make(tmp_path)
    (folder,) = (tmp_path / "runs").iterdir()
    assert sorted(path.name for path in folder.iterdir()) == ["clips.tar", "failures.csv", "journal.jsonl"]
    assert os.stat(folder / "clips.tar").st_ino == os.stat(tmp_path / "shard.tar").st_ino
    with ShardWriter(folder) as writer:
        assert list(writer.entries) == ["good0/1"] and not writer.begun
