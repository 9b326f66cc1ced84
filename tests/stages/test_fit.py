"""Stage fit, and the way from clips to a trained model of the warping family."""

import numpy as np
import pytest
import torch
from person_clips import portrait, swaying, write_person

from reenact.data.images import to_tensor
from reenact.data.training_clips import Clips
from reenact.models.encoder_file import load_encoder
from reenact.models.face_encoder import describe
from reenact.models.model_file import load_model
from reenact.models.warping.face_model import place
from reenact.models.warping.references import find_meshes
from reenact.runtime.errors import UserError
from reenact.settings.fit import FitSettings
from reenact.settings.meta import MetaSettings
from reenact.settings.model import ModelSettings
from reenact.settings.pretrain import PretrainSettings
from reenact.stages.fit import fit
from reenact.stages.meta import MetaOutputs, make_meta_model
from reenact.stages.pretrain import PretrainOutputs, pretrain
from reenact.training.checkpoint import Runs


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    folder = tmp_path_factory.mktemp("people")
    people = {"moving": swaying(12), "photo": [portrait()]}
    pairs = [write_person(folder / name, frames, ["train"] * len(frames)) for name, frames in people.items()]
    return Clips(*zip(*pairs, strict=True))


@pytest.fixture(scope="module")
def made(clips, face_landmarker, tmp_path_factory):
    """Folder with an encoder, hardly trained, and the model that follows from it."""
    folder = tmp_path_factory.mktemp("made")
    files = [folder / name for name in ("encoder.safetensors", "curves.csv", "metrics.json")]
    pretrain(
        clips=clips,
        landmarker=face_landmarker,
        outputs=PretrainOutputs(*files),
        runs=Runs(folder / "runs", code="c"),
        device="cpu",
        threads=1,
        settings=PretrainSettings(batch_size=4, steps=2),
    )
    start(clips, folder, face_landmarker)
    return folder


def start(clips, folder, landmarker, **settings):
    fit(
        clips=clips,
        encoder=folder / "encoder.safetensors",
        landmarker=landmarker,
        start=folder / "start.safetensors",
        device="cpu",
        threads=1,
        settings=FitSettings(**settings),
    )


@torch.no_grad()
def test_descriptors_say_where_the_mesh_is(made):
    """Of frames that it was fitted to, whose head sways by 12 degrees, the read mesh lies on the found one."""
    model, metadata, _ = load_model(made / "start.safetensors")
    frames = swaying(12)
    found = find_meshes(model.mesh_network, to_tensor(frames))
    said = model.face.read(torch.from_numpy(describe(model.pose_encoder, frames)))
    heads = model.face.align(found)
    usual = torch.from_numpy(heads.canonical(found.double().numpy()).mean(0)).float()
    error = (place(usual + said.shape, said.head) - found)[..., :2].norm(dim=2).mean()
    still = (found - found.mean(0))[..., :2].norm(dim=2).mean()
    assert error < 0.5 * still, (error, still)
    assert metadata["stage"] == "fit" and metadata["frames"] == 13 and metadata["pretrain"]["steps"] == 2
    assert not model.personal and model.face.blendshape_std.min() > 0 and torch.isfinite(model.face.basis).all()
    encoder = load_encoder(made / "encoder.safetensors").encoder.state_dict()
    assert all(torch.equal(value, encoder[name]) for name, value in model.pose_encoder.state_dict().items())


def test_the_same_seed_makes_the_same_file(made, clips, face_landmarker):
    first = (made / "start.safetensors").read_bytes()
    start(clips, made, face_landmarker)
    assert (made / "start.safetensors").read_bytes() == first


def test_stage_meta_begins_with_it(made, clips, tmp_path):
    """At the real sizes: one step, after which the refiner alone is another."""
    names = ("model.safetensors", "curves.csv", "metrics.json", "preview.png")
    values = {"preset": "warping", "steps": 1, "rise": 0, "decay": 0.0, "ema": 0.0, "batch_size": 1}
    make_meta_model(
        clips=clips,
        outputs=MetaOutputs(*(tmp_path / name for name in names)),
        runs=Runs(tmp_path / "runs", code="c"),
        device="cpu",
        threads=1,
        settings=MetaSettings(**values, perceptual_width=0.1, start=str(made / "start.safetensors")),
        model=ModelSettings(preset="warping"),
    )
    before, after = (
        load_model(path).reenactor.state_dict() for path in (made / "start.safetensors", tmp_path / names[0])
    )
    changed = {name.split(".")[0] for name, value in before.items() if not torch.equal(value, after[name])}
    assert changed == {"refiner"}
    avatar = load_model(tmp_path / names[0]).reenactor.personalised(
        [portrait()], [np.full((256, 256), 255, np.uint8)], 1
    )
    with torch.no_grad():
        picture, _ = avatar.show(avatar.pose_encoder(to_tensor([portrait()])))
    assert (picture[0] - to_tensor([portrait()])[0])[:, 64:192, 64:192].abs().mean() < 0.1


def test_photos_alone_are_refused(made, face_landmarker, tmp_path):
    crops, mattes = write_person(tmp_path / "photo", [portrait()], ["train"])
    with pytest.raises(UserError, match="fit: no clip has 8 frames with a face"):
        start(Clips([crops], [mattes]), made, face_landmarker)
