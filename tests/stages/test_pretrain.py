"""Stage pretrain on a real face."""

import json

import numpy as np
import pandas as pd
import pytest
import torch
from people import write_person as write_disc
from person_clips import portrait, swaying, write_person

from reenact.data.images import to_tensor
from reenact.data.training_clips import Clips
from reenact.faces.mediapipe_faces import FaceFinder
from reenact.models.encoder_file import load_encoder
from reenact.runtime.errors import UserError
from reenact.settings.pretrain import PretrainSettings
from reenact.stages.pretrain import PretrainOutputs, pretrain
from reenact.training.checkpoint import Runs


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    folder = tmp_path_factory.mktemp("people")
    frames = swaying(12)
    with FaceFinder() as finder:
        landmarks = np.stack([finder.find(frame)[0].landmarks / 256 for frame in frames])
    moving = write_person(folder / "moving", frames, ["train"] * 12, landmarks=landmarks)
    return [moving, write_person(folder / "photo", [portrait()], ["train"])]


def outputs(folder):
    return PretrainOutputs(folder / "encoder.safetensors", folder / "curves.csv", folder / "metrics.json")


def make(clips, folder, landmarker, validation=None, **settings):
    pretrain(
        clips=Clips(*zip(*clips, strict=True)),
        validation=validation,
        landmarker=landmarker,
        outputs=outputs(folder),
        runs=Runs(folder / "runs", code="c"),
        device="cpu",
        threads=1,
        settings=PretrainSettings(batch_size=4, **settings),
    )


def test_encoder_curves_and_metrics(clips, face_landmarker, tmp_path):
    make(clips, tmp_path, face_landmarker, Clips(*zip(*clips[:1], strict=True)), steps=3)
    encoder, readout, metadata = load_encoder(outputs(tmp_path).encoder)
    with torch.no_grad():
        said = readout(encoder(to_tensor([portrait()]))).numpy()[0]
    assert len(said) == len(metadata["measures"]) == 64 and np.isfinite(said).all()
    assert metadata["steps"] == 3 and metadata["frames"] == 13
    assert pd.read_csv(outputs(tmp_path).curves).step.tolist() == [1, 2, 3]
    metrics = json.loads(outputs(tmp_path).metrics.read_text())
    # The head sways, and the trunk sees it from the start; read-outs are fitted to the same twelve frames.
    assert metrics["read_out_r"]["mean"]["roll"] > 0.9 and list(metrics["read_out_r"]["clips"]) == ["moving"]


def test_the_same_command_goes_on_and_asks_the_landmarker_once(clips, face_landmarker, tmp_path, monkeypatch):
    make(clips, tmp_path, face_landmarker, steps=1)
    first = outputs(tmp_path).encoder.read_bytes()
    monkeypatch.setattr("reenact.stages.pretrain.find_expressions", None)
    make(clips, tmp_path, face_landmarker, steps=1)
    assert outputs(tmp_path).encoder.read_bytes() == first
    assert json.loads(outputs(tmp_path).metrics.read_text())["read_out_r"]["clips"] == {}


def test_clips_without_a_face_are_refused(face_landmarker, tmp_path):
    clips = [write_disc(tmp_path, "red", 2, size=256)]
    with pytest.raises(UserError, match="no face in any clip"):
        make(clips, tmp_path, face_landmarker, steps=1)
