"""Stage `fit`: a model of the warping family before its refiner has learned: pose encoder, mesh network, face model."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from reenact.data.expressions import Expressions, find_expressions
from reenact.data.shard_people import Shards
from reenact.data.training_clips import Clips, TrainingClip, few
from reenact.models.encoder_file import load_encoder
from reenact.models.face_encoder import SIZE, FaceEncoder, describe
from reenact.models.face_encoder_weights import fill_trunk
from reenact.models.model_file import save_model
from reenact.models.warping.architecture import WarpingArchitecture
from reenact.models.warping.reenactor import WarpingReenactor
from reenact.runtime.devices import pick_device
from reenact.runtime.errors import UserError
from reenact.runtime.parallel import cpu_threads
from reenact.settings.fit import FitSettings
from reenact.training.warping.fit import FEWEST, Faces, fit_face_model


def fit(
    *,
    clips: Clips | Shards,
    encoder: Path,
    landmarker: Path,
    start: Path,
    device: str = "auto",
    threads: int = 0,
    settings: FitSettings,
) -> None:
    """Fit the face model and write the model file that stage `meta` begins with.

    Args:
        clips: of crops of 256 px (or a multiple), to learn from.
        encoder: file of stage pretrain.
        landmarker: face_landmarker_v2.task, which says where faces are and what they do.
        start: file to write (.safetensors).
        device, threads: see `pick_device`.
        settings: see `FitSettings`.

    Raises:
        UserError: no clip of FEWEST frames with a face, or a file that cannot be read.
    """
    picked = pick_device(device, threads)
    pretrained = load_encoder(encoder)
    learned = few(clips.load(SIZE), settings.clips)
    known = find_expressions(learned, landmarker, settings.frames, cpu_threads(threads))
    if not any(len(found.rows) >= FEWEST for found in known):
        raise UserError(
            f"fit: no clip has {FEWEST} frames with a face, and how faces move is learned from clips; give --crops and "
            "--mattes of people who move, or --shard-files"
        )
    torch.manual_seed(settings.seed)
    model = WarpingReenactor(WarpingArchitecture(pose_dim=pretrained.encoder.outputs, shapes=settings.shapes)).eval()
    model.pose_encoder.load_state_dict(pretrained.encoder.state_dict())
    fill_trunk(model.mesh_network.trunk, landmarker, model.mesh_network.mesh)
    faces = described_faces(pretrained.encoder.to(picked), learned, known)
    fit_face_model(model.face, faces)
    print(f"fit: {len(faces.meshes)} faces of {len(learned)} clips and photos", flush=True)
    metadata = {
        "stage": "fit",
        "frames": len(faces.meshes),
        "settings": settings.model_dump(mode="json"),
        "pretrain": pretrained.metadata,
    }
    save_model(start, model, metadata)


def described_faces(encoder: FaceEncoder, clips: Sequence[TrainingClip], known: Sequence[Expressions]) -> Faces:
    """The faces that are known of clips, and what the encoder makes of them."""
    described = [
        describe(encoder, [clip.frames[row] for row in found.rows.tolist()])
        for clip, found in zip(clips, known, strict=True)
    ]
    return Faces(
        meshes=np.concatenate([found.meshes for found in known]).astype(np.float64),
        clips=np.repeat(np.arange(len(known)), [len(found.rows) for found in known]),
        blendshapes=np.concatenate([found.blendshapes for found in known]),
        descriptors=np.concatenate(described),
    )
