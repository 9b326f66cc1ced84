"""Checkpoints as the authors' code writes them: of narrow networks (their encoders have one size), or of hardly any."""

from argparse import Namespace
from pathlib import Path

import torch

from reenact.models.architecture import PRESETS, Architecture
from reenact.models.reenactor import Reenactor, build_discriminator
from reenact.published.weights import State, discriminator_names, reenactor_names

ARGUMENTS = {
    "embedder": "unsupervised_pose_separate_embResNeXt_segmentation",
    "generator": "vector_pose_unsupervised_segmentation_noBottleneck",
    "discriminator": "no_landmarks",
    "image_size": 32,
    "embed_channels": 16,
    "pose_embedding_size": 8,
    "num_channels": 8,
    "max_num_channels": 16,
    "dis_num_blocks": 4,
    "iteration": 12,
    "batch_size": 4,
    "optimizer": "Adam",
    "lr_gen": 5e-5,
    "lr_dis": 2e-4,
    "beta1": 0.0,
    "random_seed": 123,
    "n_frames_for_encoder": 8,
    "fm_weight": 10.0,
    "perc_weight": 3e-2,
    "idt_embed_weight": 6e-3,
    "dis_embed_weight": 1e-2,
    "dice_weight": 1,
    "criterions": "idt_embed, perceptual, adversarial, featmat, dis_embed, dice",
    "data_root": Path("/datasets/VoxCeleb2"),
    "num_workers": 1,
}
NARROW = Architecture(
    image_size=32,
    identity_dim=16,
    pose_dim=8,
    generator_channels=8,
    max_channels=16,
    discriminator_channels=8,
    discriminator_blocks=2,
)


def convert_back(
    reenactor: State, discriminator: State, *, architecture: Architecture = PRESETS["published"]
) -> tuple[State, State, State]:
    """The inverse of `convert`: our states -> the authors' embedder, generator and discriminator."""
    labels = len(discriminator["labels.parametrizations.weight.original"])
    names = reenactor_names(architecture, "identity_embedding" in reenactor)
    theirs: dict[str, State] = {"embedder": {}, "generator": {}}
    for key, (part, name, _) in names.items():
        theirs[part][name] = reenactor[key]
    theirs_discriminator = {
        name: discriminator[key] for key, (_, name, _) in discriminator_names(architecture, labels).items()
    }
    return theirs["embedder"], theirs["generator"], theirs_discriminator


def hardly_any(**changes):
    """The content of a checkpoint whose networks are a tensor each."""
    content = {
        "embedder": {"a": torch.ones(2)},
        "generator": {"b": torch.ones(3)},
        "discriminator": {"embed.weight_orig": torch.ones(5, 2)},
        "running_averages": {"embedder": {"a": torch.zeros(2)}, "generator": {"b": torch.zeros(3)}},
        "optimizer_G": {"state": {}, "param_groups": []},
        "args": Namespace(**ARGUMENTS),
    }
    return {key: value for key, value in (content | changes).items() if value is not None}


def narrow(personal, labels=3):
    """The content of a checkpoint of narrow networks with random weights; the averages of the generator are others."""
    torch.manual_seed(0)
    net, own_discriminator = Reenactor(NARROW, personal).eval(), build_discriminator(NARROW, 1 if personal else labels)
    if personal:
        torch.nn.init.normal_(net.identity_embedding)
    embedder, generator, discriminator = convert_back(
        net.state_dict(), own_discriminator.state_dict(), architecture=NARROW
    )
    averages = {key: value + 0.01 if key.endswith(("bias", "embedding")) else value for key, value in generator.items()}
    arguments = ARGUMENTS | (
        {"optimizer": "RAdam", "criterions": "adversarial, featmat, idt_embed, perceptual, dice"} if personal else {}
    )
    return {
        "embedder": embedder,
        "generator": generator,
        "discriminator": discriminator,
        "running_averages": {"embedder": embedder, "generator": averages},
        "args": Namespace(**arguments),
    }


def write(path, content, **options):
    """As the authors' code writes it: pickle protocol 5."""
    torch.save(content, path, pickle_protocol=-1, **options)
    return path
