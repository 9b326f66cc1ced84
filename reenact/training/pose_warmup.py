"""A start for the encoders that keeps little data from pose collapse.

Freshly made encoders put out nearly the same vector for every picture, and the generator, whose spectral norms bound
how strongly it reacts, learns to ignore them: identity explains the picture, and every driver gives the same one. Three
remedies, all before the first step of meta-learning: batch norms get statistics of many frames, because with those of a
small batch a descriptor says more about the other frames in it than about its own; the pose encoder learns by itself
where the face's landmarks are; and both embeddings are brought to a scale that the generator cannot overlook.
"""

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from reenact.data.images import to_tensor
from reenact.data.pose_samples import PoseSamples
from reenact.data.samples import Batch
from reenact.data.training_clips import TrainingClip
from reenact.models.mobilenet import MobileNetV2
from reenact.models.reenactor import Reenactor
from reenact.training.landmark_network import LandmarkNetwork, landmark_distance

BATCH, LEARNING_RATE, RISE, WEIGHT_DECAY = 256, 2e-3, 0.05, 0.02
"""The learning rate rises over this fraction of the steps, then falls to nothing."""
TAUGHT_RATE = 4e-4
"""Learning rate of an encoder that a generator already understands."""
DESCRIPTOR_SCALE = 4.0
NORM_BATCHES, NORM_BATCH = 16, 64
"""Frames whose mean statistics batch norms get: so many times so many."""


def pretrain_pose_encoder(
    encoder: MobileNetV2, clips: list[TrainingClip], *, steps: int, seed: int, again: bool = False
) -> None:
    """Train the pose encoder so that a linear readout of its descriptor gives the landmarks (`PoseSamples`).

    Its batch norms learn from batches this large, and keep what they learned.

    Args:
        encoder: changed in place, where it is, and in evaluation mode afterwards.
        clips: frames without landmarks are not used.
        steps: of `BATCH` frames.
        seed: everything random follows from it and the step.
        again: a generator knows the encoder's descriptors; they are turned and scaled at the end to be as like those
            before as can be.
    """
    device = next(encoder.parameters()).device
    samples = PoseSamples(clips, device)
    if not steps or not samples:
        return
    torch.manual_seed(seed)
    network = LandmarkNetwork(encoder.eval()).to(device)
    some = samples.draw(BATCH, seed)[0]
    with torch.no_grad():
        values = encoder(some)
        if not again:
            # A descriptor that hardly varies would teach the readout the mean face, and pass no gradient on to the
            # encoder.
            _rescale(encoder.classifier[1], values, 1.0)
        network.readout.weight.mul_(0.02)  # the mean face first
        network.readout.bias.copy_((samples.mean_face() - 0.5).flatten())
    optimizer = torch.optim.AdamW(_groups(network, TAUGHT_RATE if again else LEARNING_RATE))
    network.train()
    for step in tqdm(range(steps), desc="pose warm-up", mininterval=5):
        frames, points = samples.draw(BATCH, seed * 1_000_003 + step + 1)
        for group in optimizer.param_groups:
            group["lr"] = (
                group["rate"] * min(1, (step + 1) / (RISE * steps)) * (0.5 + 0.5 * math.cos(math.pi * step / steps))
            )
        # What opens counts for more and more: from the first step on it keeps a new encoder from learning where the
        # face is.
        loss = landmark_distance(network(frames), points - 0.5, emphasis=min(1, 1.25 * step / steps))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)  # a few odd faces otherwise undo hundreds of steps
        optimizer.step()
    encoder.eval()
    if again:
        with torch.no_grad():
            learned = encoder(some)
        _align(encoder.classifier[1], learned, values)


def _groups(network: LandmarkNetwork, encoder_rate: float) -> list[dict[str, Any]]:
    """Parameters of encoder and readout with their learning rates; matrices decay, biases and norms do not."""
    groups = []
    for module, rate in ((network.encoder, encoder_rate), (network.readout, LEARNING_RATE)):
        for deep in (True, False):
            parameters = [p for p in module.parameters() if (p.ndim > 1) == deep]
            groups.append({"params": parameters, "rate": rate, "weight_decay": WEIGHT_DECAY if deep else 0.0})
    return groups


@torch.no_grad()
def calibrate_batchnorm(encoder: nn.Module, clips: list[TrainingClip], seed: int) -> None:
    """Give the batch norms the mean statistics of many frames, and put the encoder into evaluation mode, in which they
    keep them.

    Args:
        encoder: changed in place.
        clips: frames are drawn evenly from them.
        seed: of the draw.
    """
    random = np.random.default_rng((seed, 2))
    layers = [layer for layer in encoder.modules() if isinstance(layer, nn.BatchNorm2d)]
    momentum, device = [layer.momentum for layer in layers], next(encoder.parameters()).device
    for layer in layers:
        layer.reset_running_stats()
        layer.momentum = None  # the mean of all that it sees
    encoder.train()
    for _ in range(NORM_BATCHES):
        chosen = [clips[number] for number in random.integers(len(clips), size=NORM_BATCH)]
        frames = to_tensor(np.stack([clip.frames[random.integers(len(clip.frames))] for clip in chosen]))
        encoder(frames.to(device))
    for layer, former in zip(layers, momentum, strict=True):
        layer.momentum = former
    encoder.eval()


@torch.no_grad()
def scale_descriptors(net: Reenactor, batch: Batch) -> None:
    """Give both embeddings mean 0 and standard deviation `DESCRIPTOR_SCALE` over some frames (after Salimans & Kingma,
    NIPS 2016).

    Args:
        net: changed in place: the weights and biases of the encoders' last layers.
        batch: frames to measure with, one identity frame each; where the network is.
    """
    # Dropout would be measured along with the differences of the frames, and is the larger of the two.
    dropout, last = net.pose_encoder.classifier
    dropout.eval()
    heads = (
        (net.identity_encoder, net.identity_encoder.fc, batch.identity_frames[:, 0]),
        (net.pose_encoder, last, batch.driver),
    )
    for encoder, head, frames in heads:
        _rescale(head, encoder(frames), DESCRIPTOR_SCALE)
    dropout.train()


@torch.no_grad()
def _align(head: nn.Linear, values: Tensor, wanted: Tensor) -> None:
    """Change a last layer, which put out `values` N x C, so that they are like `wanted` N x C. In place.

    They are only turned, moved, and scaled as a whole (to the same standard deviation; orthogonal Procrustes): another
    linear map would come nearer, at the cost of what `wanted` did not hold.
    """
    ours, theirs = values - values.mean(0), wanted - wanted.mean(0)
    u, _, v = torch.linalg.svd(ours.T @ theirs)
    turn = theirs.norm() / ours.norm() * (u @ v)
    head.weight.copy_(turn.T @ head.weight)
    head.bias.copy_((head.bias - values.mean(0)) @ turn + wanted.mean(0))


def _rescale(head: nn.Linear, values: Tensor, std: float) -> None:
    """Change a last layer, which put out `values` N x C, so that their mean is 0 and their mean std this. In place."""
    factor = std / values.std(0).mean().clamp_min(1e-6)
    head.weight.mul_(factor)
    head.bias.sub_(values.mean(0)).mul_(factor)
