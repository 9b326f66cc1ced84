"""A start for the encoders that keeps little data from pose collapse.

Freshly made encoders put out nearly the same vector for every picture, and the generator, whose spectral norms bound
how strongly it reacts, learns to ignore them: identity explains the picture, and every driver gives the same one.
Two remedies, both before the first step of meta-learning: the pose encoder learns by itself where the face's landmarks
are, and both embeddings are brought to a scale that the generator cannot overlook.
"""

import math

import kornia.augmentation as K
import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from reenact.images import to_tensor
from reenact.learning.augment import Augmentation
from reenact.learning.data import MIRRORED, Batch, Person
from reenact.learning.landmark_network import LandmarkNetwork, landmark_distance
from reenact.model import Reenactor
from reenact.networks.mobilenet import MobileNetV2
from reenact.settings.training import AugmentSettings

BATCH, LEARNING_RATE = 32, 2e-3
DESCRIPTOR_SCALE = 4.0


def teach_pose(encoder: MobileNetV2, people: list[Person], *, steps: int, seed: int, device: torch.device) -> LandmarkNetwork | None:
    """Train the pose encoder so that a linear readout of its descriptor gives the landmarks.

    Frames are mirrored, turned, moved and scaled together with their landmarks, and changed in colour, sharpness and
    proportions without them, half of them without their background, so that what is learned is the place, turn and expression
    of the face more than whose it is.

    Args:
        encoder: changed in place, on `device` afterwards.
        people: clips; frames without landmarks are not used.
        steps: of `BATCH` frames, drawn evenly from the clips.
        seed: everything random follows from it and the step.
        device: where to train.

    Returns:
        A frozen copy with its readout; None where nothing was learned.
    """
    known = [(p, np.flatnonzero(np.isfinite(p.landmarks).all((1, 2)))) for p in people]
    known = [(person, rows) for person, rows in known if len(rows)]
    if not steps or not known:
        return None
    torch.manual_seed(seed)
    network = LandmarkNetwork(encoder).to(device).train()
    optimizer = torch.optim.Adam(network.parameters(), lr=LEARNING_RATE)
    move = K.AugmentationSequential(
        K.RandomAffine(20.0, (0.12, 0.12), (0.85, 1.2), padding_mode="reflection", p=1.0), data_keys=["input", "keypoints"]
    )
    change = Augmentation(AugmentSettings()).pose
    for step in tqdm(range(steps), desc="pose warm-up", mininterval=5):
        torch.manual_seed(seed * 1_000_003 + step)
        frames, landmarks = (t.to(device) for t in _draw(known, np.random.default_rng((seed, step, 1))))
        with torch.no_grad():
            frames, points = move(frames, landmarks * frames.shape[-1])
            frames = change(frames).clamp(0, 1)
        for group in optimizer.param_groups:
            group["lr"] = LEARNING_RATE * (0.5 + 0.5 * math.cos(math.pi * step / steps))
        loss = landmark_distance(network(frames), points / frames.shape[-1] - 0.5)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
    return network.frozen()


def _draw(known: list[tuple[Person, np.ndarray]], random: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Frames BATCH x 3 x S x S in [0, 1] and landmarks BATCH x 68 x 2 in shares of the side, half of them mirrored."""
    frames, landmarks = [], []
    for number in random.integers(len(known), size=BATCH):
        person, rows = known[number]
        row = random.choice(rows)
        frame, points = person.frames[row], person.landmarks[row]
        if random.random() < 0.5:
            frame = (frame * (person.mattes[row, ..., None] / 255.0)).astype(np.uint8)
        if random.random() < 0.5:
            frame, points = frame[:, ::-1], points[MIRRORED] * [-1, 1] + [1, 0]
        frames.append(frame)
        landmarks.append(points)
    return to_tensor(np.stack(frames)), torch.tensor(np.stack(landmarks), dtype=torch.float32)


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
        values = encoder(frames)
        factor = DESCRIPTOR_SCALE / values.std(0).mean().clamp_min(1e-6)
        head.weight.mul_(factor)
        head.bias.sub_(values.mean(0)).mul_(factor)
    dropout.train()
