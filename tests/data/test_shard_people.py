"""People in shards: the same samples as from memory, one small read a picture."""

import copy
import os
import threading

import cv2
import numpy as np
import pytest
import torch
from people import COLOURS, disc

from reenact.data.rank_batch import RankBatch
from reenact.data.samples import Sampler
from reenact.data.shard_file import Pictures, Shard, ShardWriter
from reenact.data.shard_people import ShardPeople
from reenact.data.training_clips import PeopleInMemory, TrainingClip
from reenact.monitoring.previews import spread_frames
from reenact.runtime.errors import UserError
from reenact.settings.training import LossWeights, TrainingSettings

MARKS = np.random.default_rng(0).random((6, 68, 2)).astype(np.float16).astype(np.float32)


def images(colour, number, side):
    made = [disc(colour, 0.4 + 0.04 * frame, 0.35 + 0.1 * number, 64) for frame in range(6)]
    return [
        np.stack(kind)
        if side == 64
        else np.stack([cv2.resize(i, (side, side), interpolation=cv2.INTER_AREA) for i in kind])
        for kind in zip(*made, strict=True)
    ]


def write(folder, shards, splits=("train", "train")):
    """Two clips each of red and green, spread over some shards."""
    people = zip(("red", "green"), splits, strict=True)
    clips = [{"clip": f"{name}/{i}", "identity": name, "split": split} for name, split in people for i in range(2)]
    for place in range(shards):
        mine = clips[place::shards]
        with ShardWriter(folder / f"work{place}") as writer:
            for clip in mine:
                frames, mattes = images(COLOURS[clip["identity"]], int(clip["clip"][-1]), 64)
                encoded = (
                    [cv2.imencode(".png", i[..., ::-1] if i.ndim == 3 else i)[1].tobytes() for i in kind]
                    for kind in (frames, mattes)
                )
                writer.add(clip["clip"], "s", Pictures(*encoded, MARKS, ".png", 64))
            writer.publish(folder / f"{place}.tar", mine)
    return [folder / f"{place}.tar" for place in range(shards)]


def in_memory(side, by):
    clips = [
        TrainingClip(f"{name}/{number}", *images(COLOURS[name], number, side), MARKS, name if by == "identity" else "")
        for name in ("green", "red")
        for number in range(2)
    ]
    return PeopleInMemory(clips)


EMPHASIS = LossWeights(eyes_mouth=1)


def tensors(batch):
    return [batch.identity_frames, batch.driver, batch.target, batch.matte, batch.label, batch.emphasis]


@pytest.mark.parametrize(("side", "by", "shards"), [(64, "clip", 1), (64, "identity", 3), (32, "clip", 3)])
def test_samples_are_those_from_memory(tmp_path, side, by, shards):
    lazy, known = ShardPeople(write(tmp_path, shards), side, "train", by), in_memory(side, by)
    assert lazy.names == known.names and len(lazy) == len(known)
    settings = TrainingSettings(seed=3, mirror=0.5, hard_pose_fraction=0.5, losses=EMPHASIS)
    samplers = [Sampler(people, settings, 5, identity_frames=3) for people in (lazy, known)]
    for step in range(4):
        ours, theirs = (tensors(sampler(step)) for sampler in samplers)
        assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))


def test_one_sample_is_ten_reads_from_one_clip(tmp_path, monkeypatch):
    people = ShardPeople(write(tmp_path, 2), 64, "train", "clip")
    reads, read = [], os.pread
    monkeypatch.setattr(
        os, "pread", lambda file, size, offset: reads.append((file, offset)) or read(file, size, offset)
    )
    Sampler(people, TrainingSettings(), 1, identity_frames=8)(1)
    assert len(reads) == 10 and len({file for file, _ in reads}) == 1


def test_a_part_of_a_batch_is_part_of_the_whole_and_reads_no_more(tmp_path, monkeypatch):
    people = ShardPeople(write(tmp_path, 2), 64, "train", "clip")
    settings = TrainingSettings(mirror=0.5, losses=EMPHASIS)
    whole = Sampler(people, settings, 6, identity_frames=2)(5)
    reads, read = [], os.pread
    monkeypatch.setattr(os, "pread", lambda file, size, offset: reads.append(size) or read(file, size, offset))
    part = Sampler(people, settings, RankBatch([1, 4], 6), identity_frames=2)(5)
    assert len(reads) == 2 * (2 + 2), "landmarks are known"
    assert all(torch.equal(a, b[[1, 4]]) for a, b in zip(tensors(part), tensors(whole), strict=True))


def test_landmarks_of_a_clip_are_read_once_for_all_draws(tmp_path, monkeypatch):
    reads, read = [], Shard.landmarks
    monkeypatch.setattr(Shard, "landmarks", lambda shard, clip: reads.append(shard.clips[clip]) or read(shard, clip))
    sampler = Sampler(
        ShardPeople(write(tmp_path, 2), 64, "train", "clip"),
        TrainingSettings(hard_pose_fraction=0.5, losses=EMPHASIS),
        4,
    )
    for step in range(3):
        sampler(step)
    assert reads and len(reads) == len(set(reads))


def test_splits_are_apart(tmp_path):
    paths = write(tmp_path, 2, splits=("validation", "train"))
    assert ShardPeople(paths, 64, "train", "clip").names == ["green/0", "green/1"]
    assert ShardPeople(paths, 64, "validation", "identity").names == ["red"]
    assert len(ShardPeople(write(tmp_path / "all", 1), 64, "validation", "clip")) == 0


def test_no_open_file_is_copied_and_threads_agree(tmp_path):
    people = ShardPeople(write(tmp_path, 2), 64, "train", "clip")
    first = Sampler(people, TrainingSettings(), 8, identity_frames=4)(0)
    other, found = copy.deepcopy(people), {}

    def draw(thread):
        found[thread] = Sampler(other, TrainingSettings(), 8, identity_frames=4)(0)

    threads = [threading.Thread(target=draw, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(torch.equal(found[thread].identity_frames, first.identity_frames) for thread in range(4))


def test_a_person_in_a_shard_can_be_shown(tmp_path):
    people = ShardPeople(write(tmp_path, 1), 32, "train", "clip")
    assert spread_frames(people[0][0], 4).shape == (4, 32, 32, 3)


def test_sizes_that_do_not_divide_are_named(tmp_path):
    with pytest.raises(UserError, match=r"0\.tar: crops of 64 px do not divide into 48 px; set crop\.size"):
        ShardPeople(write(tmp_path, 1), 48, "train", "clip")
