"""How the training of a warping model begins: with a pose encoder and a face model that stay as they are."""

from pathlib import Path

import torch

from reenact.models.model_file import load_model
from reenact.models.warping.architecture import WarpingArchitecture
from reenact.models.warping.reenactor import WarpingReenactor
from reenact.runtime.errors import UserError
from reenact.settings.meta import MetaSettings
from reenact.training.checkpoint import RunFolder
from reenact.training.learner import Learner
from reenact.training.start import schedule_of


def warping_learner(settings: MetaSettings, device: torch.device) -> Learner:
    """A model of which the refiner learns, and the pose encoder if the settings say so (`warping.said`).

    Args:
        settings: of the stage; see `starting_model`.
        device: where it is put.

    Raises:
        UserError: there is no model to begin with.
    """
    model = starting_model(settings).eval().requires_grad_(False)
    model.refiner.train().requires_grad_(True)
    model.pose_encoder.requires_grad_(settings.warping.said > 0)
    return Learner(model.to(device), None, settings, schedule_of(settings))


def starting_model(settings: MetaSettings) -> WarpingReenactor:
    """The meta-model that `meta.start` names; of another run, one of its sizes, into which its checkpoint can go.

    Raises:
        UserError: nothing is named, or something else.
    """
    for file in settings.start_files():
        model = load_model(Path(file)).reenactor
        if not isinstance(model, WarpingReenactor) or model.personal:
            kind = "an avatar" if model.personal else f"a model of the {model.family} family"
            raise UserError(f"meta.start: {file!r} is {kind}; allowed: a meta-model of the warping family")
        # One from before mirror images were shown takes them for photos at first.
        return model if model.architecture.mirrored else model.rebuilt(mirrored=True)
    name, folder = ("meta.resume", settings.resume) if settings.resume else ("meta.start", settings.start)
    if folder is None:
        raise UserError(
            "meta.start: null; with model.preset: warping, training begins with a model file of that family "
            "(.safetensors), whose pose encoder and face model are kept; stage fit writes one"
        )
    known = RunFolder(Path(folder)).metadata() if Path(folder).is_dir() else {}
    if known.get("architecture", {}).get("family") != WarpingReenactor.family:
        raise UserError(f"{name}: {folder!r} is no run folder of the warping family, and no model file (.safetensors)")
    return WarpingReenactor(WarpingArchitecture.from_json(known["architecture"], folder))
