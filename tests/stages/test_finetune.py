"""Stage finetune on a synthetic person."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from face_shapes import narrow_model
from people import write_person
from warping_models import write_seeing_model

import reenact.stages.finetune
from reenact.data.training_clips import load_training_clip
from reenact.models.architecture import PRESETS
from reenact.models.model_file import load_model, save_model
from reenact.models.reenactor import Reenactor, build_discriminator
from reenact.models.spectral_norm import fold_spectral_norms
from reenact.runtime.errors import UserError
from reenact.settings.finetune import FinetuneSettings
from reenact.stages.finetune import finetune, guided_sweep, personalise, sampler
from reenact.training.checkpoint import Runs


@pytest.fixture(scope="module")
def room(tmp_path_factory):
    """Crops and mattes of one person, and a meta-model."""
    folder = tmp_path_factory.mktemp("finetune")
    torch.manual_seed(0)
    small = PRESETS["small"]
    save_model(folder / "meta.safetensors", Reenactor(small), {}, build_discriminator(small, 3))
    return *write_person(folder, "blue", 5), folder / "meta.safetensors"


def tune(room, folder, sweep=(1, 3), **settings):
    crops, mattes, meta = room
    defaults = {"perceptual_width": 0.1, "max_batch": 2, "checkpoint_every": 2}
    finetune(
        crops=crops,
        mattes=mattes,
        meta=meta,
        sweep=folder / "sweep",
        runs=Runs(folder / "runs", code="c"),
        device="cpu",
        settings=FinetuneSettings(sweep=list(sweep), **defaults | settings),
    )
    return {int(path.stem): path for path in sorted((folder / "sweep").glob("*.safetensors"))}


def state(path):
    return load_model(path)[0].state_dict()


def test_guide_is_the_published_one():
    assert guided_sweep(1) == [31, 62, 125, 188]
    assert guided_sweep(31) == guided_sweep(500) == [58, 115, 230, 345]


def test_iteration_zero_is_the_meta_model_with_the_mean_embedding(room, tmp_path):
    models = tune(room, tmp_path)
    assert sorted(models) == [0, 1, 3]
    base = load_model(room[2])[0].eval()
    frames = torch.from_numpy(load_training_clip(room[0], room[1], 64).frames).permute(0, 3, 1, 2) / 255
    start = state(models[0])
    torch.testing.assert_close(
        start["identity_embedding"][0], base.identity_encoder(frames).mean(0), atol=1e-5, rtol=1e-4
    )
    fold_spectral_norms(base)  # as an avatar's file has them
    for key, value in base.state_dict().items():
        torch.testing.assert_close(
            start[key], value, atol=1e-7, rtol=1e-6
        )  # folding rounds by where the tensors lie in memory


def test_generator_and_embedding_learn_and_encoders_stay(room, tmp_path):
    models = tune(room, tmp_path)
    before, after = state(models[0]), state(models[3])
    moved = {key for key in before if not torch.equal(before[key], after[key])}
    assert "identity_embedding" in moved and any(key.startswith("generator.blocks") for key in moved)
    assert not any(key.startswith(("pose_encoder", "identity_encoder")) for key in moved), "buffers included"
    assert pd.read_csv(tmp_path / "sweep" / "curves.csv").step.tolist() == [1, 2, 3]


def test_settings_say_how_often_frames_are_mirrored(room):
    person = load_training_clip(room[0], room[1], 64)
    plain, mirrored = (sampler(person, FinetuneSettings(mirror=mirror), 4)(7) for mirror in (0.0, 1.0))
    for name in ("driver", "target", "matte"):
        torch.testing.assert_close(getattr(mirrored, name), getattr(plain, name).flip(-1), rtol=0, atol=0)
    assert not torch.equal(mirrored.driver, plain.driver)
    photo = replace(person, frames=person.frames[:1], mattes=person.mattes[:1], landmarks=person.landmarks[:1])
    plain, mirrored = (
        sampler(photo, FinetuneSettings(mirror=mirror, hard_pose_fraction=0.5), 1)(7) for mirror in (0.0, 1.0)
    )
    assert torch.equal(mirrored.driver, plain.driver), "a single photo stays as it is"


def test_settings_say_how_often_unusual_faces_are_drawn(room):
    person = load_training_clip(room[0], room[1], 64)
    landmarks = np.repeat(np.random.default_rng(0).random((1, 68, 2)), len(person.frames), axis=0)
    landmarks[3, 27:36, 0] += 0.1  # the nose of one frame points elsewhere
    person = replace(
        person,
        landmarks=landmarks,
        frames=np.stack([np.full_like(frame, number) for number, frame in enumerate(person.frames)]),
    )

    def share_of_it(hard_pose_fraction):
        drawn = [
            sampler(person, FinetuneSettings(hard_pose_fraction=hard_pose_fraction), 2)(step).driver
            for step in range(100)
        ]
        return (torch.cat(drawn)[:, 0, 0, 0] * 255).round().eq(3).float().mean()

    assert share_of_it(0.0) < 0.3 and share_of_it(1.0) > 0.9


def test_the_published_form_lets_the_pose_encoder_drift(room, tmp_path):
    models = tune(room, tmp_path, pose_encoder="published")
    before, after = state(models[0]), state(models[3])
    moved = {key for key in before if key.startswith("pose_encoder") and not torch.equal(before[key], after[key])}
    assert moved and all(
        key.rsplit(".", 1)[1] in ("running_mean", "running_var", "num_batches_tracked") for key in moved
    )


def test_discriminator_starts_from_the_meta_model_with_the_person_as_label(room):
    learner = personalise(load_training_clip(room[0], room[1], 64), room[2], FinetuneSettings())
    meta = load_model(room[2])[2]
    for key, value in learner.discriminator.state_dict().items():
        if not key.startswith("labels"):
            assert torch.equal(value, meta[key]), key
    row, identity = learner.discriminator.label_rows(torch.tensor([0])), learner.reenactor.identity_embedding
    torch.testing.assert_close(row, identity / identity.norm(), atol=1e-4, rtol=1e-3)


def test_batch_shrinks_when_memory_runs_out(room, tmp_path, monkeypatch, capsys):
    real, sizes = reenact.stages.finetune._train, []

    def scarce(person, meta, run, iterations, batch_size, *rest):
        sizes.append(batch_size)
        if batch_size > 2:
            raise RuntimeError("CUDA out of memory. Tried to allocate 20.00 MiB")
        return real(person, meta, run, iterations, batch_size, *rest)

    monkeypatch.setattr(reenact.stages.finetune, "_train", scarce)
    assert sorted(tune(room, tmp_path, sweep=[1], max_batch=5)) == [0, 1]
    assert sizes[0] == 5 and sizes[-1] == 2 and sizes == sorted(sizes, reverse=True)


def test_a_longer_sweep_goes_on_and_equals_one_run(room, tmp_path, capsys):
    tune(room, tmp_path / "grown", sweep=[2])
    grown = tune(room, tmp_path / "grown", sweep=[2, 4])
    assert "resuming from step 2 (" in capsys.readouterr().out
    whole = tune(room, tmp_path / "whole", sweep=[2, 4])
    for iteration in (2, 4):
        a, b = state(grown[iteration]), state(whole[iteration])
        assert all(torch.equal(a[key], b[key]) for key in a)


def test_an_iteration_before_the_last_checkpoint_is_made_again(room, tmp_path):
    tune(room, tmp_path / "late", sweep=[6], checkpoint_every=1)
    late = tune(room, tmp_path / "late", sweep=[3, 6], checkpoint_every=1)
    whole = tune(room, tmp_path / "whole", sweep=[3, 6], checkpoint_every=1)
    assert all(torch.equal(a, b) for a, b in zip(state(late[3]).values(), state(whole[3]).values(), strict=True))


def test_an_avatar_cannot_be_fine_tuned(room, tmp_path):
    avatar = tune(room, tmp_path, sweep=[1])[1]
    with pytest.raises(UserError, match="an avatar cannot be fine-tuned; give a meta-model"):
        tune((room[0], room[1], avatar), tmp_path / "again", sweep=[1])


def test_an_empty_sweep_trains_nothing(room, tmp_path):
    assert sorted(tune(room, tmp_path, sweep=[])) == [0]
    assert pd.read_csv(tmp_path / "sweep" / "curves.csv").empty


def test_a_warping_avatar_is_made_of_photos_and_nothing_is_trained(room, tmp_path):
    crops, mattes, _ = room
    save_model(tmp_path / "warping.safetensors", narrow_model(), {})
    models = tune((crops, mattes, tmp_path / "warping.safetensors"), tmp_path, sweep=(), references=2)
    assert sorted(models) == [0]
    net = load_model(models[0]).reenactor
    assert net.personal and net.own.photos.shape[0] == 2
    assert (tmp_path / "sweep" / "preview.png").exists() and (tmp_path / "sweep" / "curves.csv").exists()
    larger = tune((crops, mattes, tmp_path / "warping.safetensors"), tmp_path / "large", sweep=(), image_size=128)
    rgb, _ = load_model(larger[0]).reenactor.show(torch.zeros(1, net.architecture.pose_dim))
    assert rgb.shape == (1, 3, 128, 128)
    with pytest.raises(UserError, match="needs one of the constant family"):
        personalise(load_training_clip(crops, mattes, 64), tmp_path / "warping.safetensors", FinetuneSettings())
    with pytest.raises(UserError, match="an avatar cannot be fine-tuned; give a meta-model"):
        tune((crops, mattes, models[0]), tmp_path / "again", sweep=())


WARPING = {"preset": "warping", "references": 2, "learning_rate": 5e-3, "ema": 0.5}


@pytest.fixture(scope="module")
def moving_room(tmp_path_factory):
    """Crops and mattes of ten frames of a person, and a meta-model of the warping family."""
    folder = tmp_path_factory.mktemp("moving")
    return *write_person(folder, "blue", 10), write_seeing_model(folder)


def test_of_a_warping_avatar_the_refiner_learns(moving_room, tmp_path):
    models = tune(moving_room, tmp_path, sweep=(1, 40), max_batch=4, **WARPING)
    before, after = state(models[0]), state(models[40])
    for name, value in after.items():
        assert torch.equal(value, before[name]) != name.startswith("refiner."), name
    curves = pd.read_csv(tmp_path / "sweep" / "curves.csv")
    assert curves.step.tolist() == list(range(1, 41))
    assert curves["generated"][-10:].mean() < 0.9 * curves["generated"][:5].mean()


def test_crops_may_be_larger_than_the_avatar(moving_room, tmp_path):
    crops, mattes = write_person(tmp_path, "blue", 10, size=128)
    models = tune((crops, mattes, moving_room[2]), tmp_path, sweep=[1], **WARPING)
    net = load_model(models[1]).reenactor
    assert net.architecture.image_size == 64 and net.own.photos.shape[1] == 128


def test_a_warping_avatar_of_one_photo_can_learn_too(room, tmp_path):
    crops, mattes = write_person(tmp_path, "red", 1)
    models = tune((crops, mattes, write_seeing_model(tmp_path)), tmp_path, sweep=[2], **WARPING)
    assert not torch.equal(*(state(models[iteration])["refiner.enter.weight"] for iteration in (0, 2)))


def test_a_longer_sweep_of_a_warping_avatar_goes_on(moving_room, tmp_path, capsys):
    tune(moving_room, tmp_path / "grown", sweep=[2], **WARPING)
    grown = tune(moving_room, tmp_path / "grown", sweep=[2, 4], **WARPING)
    assert "resuming from step 2 (" in capsys.readouterr().out
    whole = tune(moving_room, tmp_path / "whole", sweep=[2, 4], **WARPING)
    assert all(torch.equal(a, b) for a, b in zip(state(grown[4]).values(), state(whole[4]).values(), strict=True))
