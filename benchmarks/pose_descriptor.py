"""What can be read from pose descriptors, of faces and of people.

python benchmarks/pose_descriptor.py --learned results/clips/*/crops.zip --tried ../other/results/clips/*/crops.zip \
    --encoders results/pretrain/face/encoder.safetensors reenact/bundled/mini.safetensors

The read-outs are fitted to frames of the clips `--learned`, and followed over those of `--tried`, clips of other people
(docs/experiments/pose-descriptor.md). For each encoder: correlations by clip, and their mean; how often the second half
of a clip is told to be of its person by a linear discriminant that knows the first halves; and how much of the variance
lies between clips.
"""

import argparse
from pathlib import Path

import numpy as np
import torch

from reenact.data.clip import Clip
from reenact.data.images import resize_area, to_tensor
from reenact.data.sequence import spread
from reenact.evaluation.readouts import readout_correlations
from reenact.faces.landmarks import found
from reenact.models.encoder_file import load_encoder
from reenact.models.face_encoder import SIZE
from reenact.models.model_file import load_model
from reenact.runtime.errors import UserError

FITTED, TRIED = 1500, 96
"""Frames of all clips that read-outs are fitted to, and of each clip that they are tried on."""
SHRINKAGE = 0.1
"""Of the discriminant's covariance, towards a multiple of the identity."""


def encoder_of(path: Path) -> tuple[torch.nn.Module, int]:
    """The pose encoder of a file of stage pretrain or of a model file, and the side of the frames that it sees, px."""
    try:
        return load_encoder(path).encoder, SIZE
    except UserError:
        net = load_model(path).reenactor
        return net.pose_encoder.eval(), net.architecture.image_size


@torch.no_grad()
def describe(encoder: torch.nn.Module, size: int, frames: np.ndarray) -> np.ndarray:
    """Descriptors of frames, uint8 N x S x S x 3: N x P."""
    batches = (to_tensor(resize_area(frames[first : first + 16], size)) for first in range(0, len(frames), 16))
    return torch.cat([encoder(batch) for batch in batches]).numpy()


def frames_of(path: Path, most: int) -> tuple[np.ndarray, np.ndarray]:
    """At most so many frames in which the face was found, spread over a clip, and their landmarks (fractions)."""
    clip = Clip(path)
    rows = np.flatnonzero(found(clip.landmarks()) & (clip.table["image"] != "").to_numpy())
    rows = rows[spread(len(rows), most)]
    return clip.images([clip.table["image"][row] for row in rows.tolist()]), clip.landmarks()[rows]


def told(clips: list[np.ndarray]) -> float:
    """Fraction of the frames of the second halves that are told to be of their clip, by the first halves."""
    firsts, seconds = [clip[: len(clip) // 2] for clip in clips], [clip[len(clip) // 2 :] for clip in clips]
    means = np.stack([first.mean(axis=0) for first in firsts])
    spread_within = np.cov(np.concatenate([first - mean for first, mean in zip(firsts, means, strict=True)]).T)
    even = np.eye(len(spread_within)) * np.trace(spread_within) / len(spread_within)
    precision = np.linalg.inv((1 - SHRINKAGE) * spread_within + SHRINKAGE * even)
    right = []
    for number, second in enumerate(seconds):
        apart = second[:, None] - means
        right.append(np.einsum("nci,ij,ncj->nc", apart, precision, apart).argmin(axis=1) == number)
    return float(np.concatenate(right).mean())


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--learned", type=Path, nargs="+", required=True, help="crops.zip of clips learned from")
    parser.add_argument("--tried", type=Path, nargs="+", required=True, help="crops.zip of other people's clips")
    parser.add_argument("--encoders", type=Path, nargs="+", required=True, help="files of stage pretrain, or models")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    learned = [frames_of(path, -(-FITTED // len(arguments.learned))) for path in arguments.learned]
    tried = [frames_of(path, TRIED) for path in arguments.tried]
    known = np.concatenate([landmarks for _, landmarks in learned])
    for path in arguments.encoders:
        encoder, size = encoder_of(path)
        fitted = np.concatenate([describe(encoder, size, frames) for frames, _ in learned])
        clips = [describe(encoder, size, frames) for frames, _ in tried]
        points = (landmarks for _, landmarks in tried)
        table = readout_correlations((fitted, known), list(zip(clips, points, strict=True)))
        table.index = [path.parent.name for path in arguments.tried]
        table.loc["mean"] = table.mean()
        normed = [(clip - fitted.mean(axis=0)) / fitted.std(axis=0) for clip in clips]
        within, total = (np.mean([clip.var(axis=0).mean() for clip in of]) for of in (normed, [np.concatenate(normed)]))
        print(f"\n{path}\n{table.round(3).to_string()}")
        print(f"clip told by its first half: {told(normed):.3f} (chance {1 / len(clips):.2f})")
        print(f"share of the variance between clips: {1 - within / total:.3f}")


if __name__ == "__main__":
    main()
