"""A start for the encoders that keeps little data from pose collapse.

Freshly made encoders put out nearly the same vector for every picture, and the generator, whose spectral norms bound
how strongly it reacts, learns to ignore them: identity explains the picture, and every driver gives the same one.
Three remedies, all before the first step of meta-learning: batch norms get statistics of many frames, because with those of a small
batch a descriptor says more about the other frames in it than about its own; the pose encoder learns by itself where the
face's landmarks are; and both embeddings are brought to a scale that the generator cannot overlook.
"""

import math

import cv2
import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from reenact.images import to_tensor
from reenact.learning.data import MIRRORED, Batch, Person
from reenact.learning.landmark_network import LandmarkNetwork, landmark_distance
from reenact.model import Reenactor
from reenact.networks.mobilenet import MobileNetV2

BATCH, LEARNING_RATE, RISE = 16, 1e-3, 50
TAUGHT_RATE = 4e-4
"""Learning rate of an encoder that a generator already understands."""
DESCRIPTOR_SCALE = 4.0
NORM_BATCHES = 16
"""Batches of BATCH frames whose mean statistics batch norms get."""


def teach_pose(
    encoder: MobileNetV2, people: list[Person], *, steps: int, seed: int, device: torch.device, again: bool = False
) -> LandmarkNetwork | None:
    """Train the pose encoder so that a linear readout of its descriptor gives the landmarks; its batch norms stay as they are.

    Frames are mirrored, turned, moved and scaled together with their landmarks, and changed in colour without them, a
    quarter of them without their background, so that what is learned is the place, turn and expression of the face more than whose it is.

    Args:
        encoder: changed in place, on `device` and in evaluation mode afterwards.
        people: clips; frames without landmarks are not used.
        steps: of `BATCH` frames, drawn evenly from the clips, half of them by how unusual the face is.
        seed: everything random follows from it and the step.
        device: where to train.
        again: a generator knows the encoder's descriptors; they are turned and scaled at the end to be as like those before as can be.

    Returns:
        A frozen copy with its readout; None where nothing was learned.
    """
    known = with_landmarks(people)
    if not steps or not known:
        return None
    torch.manual_seed(seed)
    network = LandmarkNetwork(encoder.eval()).to(device)
    with torch.no_grad():
        some = torch.cat([_draw(known, np.random.default_rng((seed, 3, number)))[0] for number in range(NORM_BATCHES)]).to(device)
        values = encoder(some)
        if not again:
            # A descriptor that hardly varies would teach the readout the mean face, and pass no gradient on to the encoder.
            _rescale(encoder.classifier[1], values, 1.0)
        network.readout.weight.mul_(0.02)  # the mean face first
        network.readout.bias.copy_(torch.from_numpy(np.mean([p.landmarks[rows].mean(0) for p, rows in known], 0) - 0.5).flatten())
    rates = {"encoder": TAUGHT_RATE if again else LEARNING_RATE, "readout": LEARNING_RATE}
    optimizer = torch.optim.Adam([{"params": getattr(network, part).parameters(), "rate": rate} for part, rate in rates.items()])
    for step in tqdm(range(steps), desc="pose warm-up", mininterval=5):
        frames, points = (t.to(device) for t in _draw(known, np.random.default_rng((seed, step, 1))))
        for group in optimizer.param_groups:
            group["lr"] = group["rate"] * min(1, (step + 1) / RISE) * (0.5 + 0.5 * math.cos(math.pi * step / steps))
        # What opens counts for more and more: from the first step on it keeps a new encoder from learning where the face is.
        loss = landmark_distance(network(frames), points - 0.5, emphasis=step / steps)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)  # a few odd faces otherwise undo hundreds of steps
        optimizer.step()
    found = network.frozen()
    if again:
        _align(encoder.classifier[1], found.encoder(some), values)
    return found


def with_landmarks(people: list[Person]) -> list[tuple[Person, np.ndarray]]:
    """Clips that have landmarks, and the numbers of the frames that do."""
    known = [(person, np.flatnonzero(np.isfinite(person.landmarks).all((1, 2)))) for person in people]
    return [(person, rows) for person, rows in known if len(rows)]


def _draw(known: list[tuple[Person, np.ndarray]], random: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Changed frames BATCH x 3 x S x S in [0, 1], and where their landmarks are then, BATCH x 68 x 2 in shares of the side."""
    frames, landmarks = [], []
    for number in random.integers(len(known), size=BATCH):
        person, rows = known[number]
        row = random.choice(len(person.frames), p=person.unusualness) if random.random() < 0.5 else random.choice(rows)
        frame, points = person.frames[row], person.landmarks[row]
        if random.random() < 0.25:
            frame = (frame * (person.mattes[row, ..., None] / 255.0)).astype(np.uint8)
        if random.random() < 0.5:
            frame, points = frame[:, ::-1], points[MIRRORED] * [-1, 1] + [1, 0]
        frame, points = _moved(np.ascontiguousarray(frame), points, random)
        frames.append(frame)
        landmarks.append(points)
    gain, power = random.uniform(0.8, 1.2, (BATCH, 3, 1, 1)), np.exp(random.uniform(-0.3, 0.3, (BATCH, 1, 1, 1)))
    coloured = to_tensor(np.stack(frames)) ** torch.from_numpy(power).float() * torch.from_numpy(gain).float()
    return coloured.clamp(0, 1), torch.tensor(np.stack(landmarks), dtype=torch.float32)


def _moved(frame: np.ndarray, points: np.ndarray, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Turned by up to 12 degrees, scaled by up to 8 % and shifted by up to 4 % of the side."""
    angle, scale, shift = np.deg2rad(random.uniform(-12, 12)), random.uniform(0.92, 1.08), random.uniform(-0.04, 0.04, 2)
    turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    offset = np.array([0.5, 0.5]) + shift - turn @ np.array([0.5, 0.5])
    side = frame.shape[0]
    matrix = np.hstack([turn, side * offset[:, None]])
    return cv2.warpAffine(frame, matrix, (side, side), borderMode=cv2.BORDER_REFLECT_101), points @ turn.T + offset


@torch.no_grad()
def settle_norms(encoder: nn.Module, people: list[Person], seed: int) -> None:
    """Give the batch norms the mean statistics of many frames, and put the encoder into evaluation mode, in which they keep them.

    Args:
        encoder: changed in place.
        people: clips; frames are drawn evenly from them.
        seed: of the draw.
    """
    random = np.random.default_rng((seed, 2))
    layers = [layer for layer in encoder.modules() if isinstance(layer, nn.BatchNorm2d)]
    momentum = [layer.momentum for layer in layers]
    for layer in layers:
        layer.reset_running_stats()
        layer.momentum = None  # the mean of all that it sees
    encoder.train()
    for _ in range(NORM_BATCHES):
        chosen = [people[number] for number in random.integers(len(people), size=4 * BATCH)]
        encoder(to_tensor(np.stack([person.frames[random.integers(len(person.frames))] for person in chosen])))
    for layer, former in zip(layers, momentum):
        layer.momentum = former
    encoder.eval()


@torch.no_grad()
def scale_descriptors(net: Reenactor, batch: Batch) -> None:
    """Give both embeddings mean 0 and deviation `DESCRIPTOR_SCALE` over some frames (after Salimans & Kingma, NIPS 2016).

    Args:
        net: changed in place: the weights and biases of the encoders' last layers.
        batch: frames to measure with, one identity frame each.
    """
    # Dropout would be measured along with the differences of the frames, and is the larger of the two.
    dropout, last = net.pose_encoder.classifier
    dropout.eval()
    heads = ((net.identity_encoder, net.identity_encoder.fc, batch.identity_frames[:, 0]), (net.pose_encoder, last, batch.driver))
    for encoder, head, frames in heads:
        _rescale(head, encoder(frames), DESCRIPTOR_SCALE)
    dropout.train()


@torch.no_grad()
def _align(head: nn.Linear, values: Tensor, wanted: Tensor) -> None:
    """Change a last layer, which put out `values` N x C, so that they are like `wanted` N x C. In place.

    They are only turned, moved, and scaled as a whole (to the same deviation; orthogonal Procrustes): another linear map would come nearer, at the
    cost of what `wanted` did not hold.
    """
    ours, theirs = values - values.mean(0), wanted - wanted.mean(0)
    u, _, v = torch.linalg.svd(ours.T @ theirs)
    turn = theirs.norm() / ours.norm() * (u @ v)
    head.weight.copy_(turn.T @ head.weight)
    head.bias.copy_((head.bias - values.mean(0)) @ turn + wanted.mean(0))


def _rescale(head: nn.Linear, values: Tensor, deviation: float) -> None:
    """Change a last layer, which put out `values` N x C, so that they have mean 0 and on average this deviation. In place."""
    factor = deviation / values.std(0).mean().clamp_min(1e-6)
    head.weight.mul_(factor)
    head.bias.sub_(values.mean(0)).mul_(factor)
