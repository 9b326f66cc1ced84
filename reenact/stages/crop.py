"""Stage `crop`: a square around the face of one person, followed through the whole clip (`reenact.faces.crops`)."""

from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pandas as pd

from reenact.data.clip import write_clip
from reenact.data.png import encode_png
from reenact.faces.crop_table import jitter
from reenact.faces.crops import FollowedFace, cut_crops, follow_face
from reenact.faces.detectors import Detector, open_detectors
from reenact.media.probe import Passes, probe
from reenact.runtime.parallel import cpu_threads, opencv_in_one_thread
from reenact.settings.crop import CropSettings


@opencv_in_one_thread()
def crop_clip(
    *,
    media: Path,
    frames: Path,
    crops: Path,
    settings: CropSettings,
    device: str = "auto",
    threads: int = 1,
    detectors: list[Detector] | None = None,
) -> None:
    """Write the crops of one clip: `settings.size` square RGB images, and where in its frame each comes from.

    The table has the columns of `reenact.faces.crop_table`. A driver keeps all its frames, an identity those in which
    its person is seen well enough. Crops of the published layout are taken as they are.

    Args:
        media: video, photo, folder of photos, or folder of crops.
        frames: frame table of stage `decode`.
        crops: clip to write.
        settings: see `CropSettings`.
        device: of face-alignment's networks: "auto", "cpu", "cuda", "cuda:1" or "mps".
        threads: how many frames are worked on at a time; 0 = as many as there are cores.
        detectors: that `open_detectors` opened for as many threads, where many clips are cropped; None = opened here.

    Raises:
        UserError: nobody is found, the person asked for is not there, or a face is away for longer than allowed.
    """
    passes, workers = Passes(probe(media)), cpu_threads(threads)
    table = pd.read_csv(frames, keep_default_na=False)
    with open_detectors(settings, device, workers) if detectors is None else nullcontext(detectors) as finders:
        face = follow_face(passes, table, finders, settings, workers)
    images, mattes = face.table["image"].tolist(), face.table["matte"].tolist()
    with write_clip(crops) as clip:
        for row, crop, matte in cut_crops(passes, face.table, settings, workers, encode_png):
            clip.add_encoded(images[row], crop)
            if matte is not None:
                clip.add_encoded(mattes[row], matte)
        clip.add_landmarks(face.landmarks)
        clip.finish(face.table)
    _report(media, face)


def _report(media: Path, face: FollowedFace) -> None:
    """Print what was found, for the log."""
    table = face.table
    counts = table["status"].value_counts()
    print(f"{media}: {len(table)} frames: {', '.join(f'{count} {status}' for status, count in counts.items())}")
    for reason, count in table.loc[table["reason"] != "", "reason"].value_counts().items():
        print(f"  {reason}: {count}")
    print(f"  {face.people}")
    restless = jitter(table)
    if not np.isnan(restless["centre_before"]):
        print(
            "  jitter (of face heights): "
            f"middle {restless['centre_before']:.4f} before smoothing, {restless['centre_after']:.4f} after; "
            f"size {restless['scale_before']:.4f} before, {restless['scale_after']:.4f} after"
        )
    for number, start in enumerate(face.scene_starts, 1):
        print(f"  scene {number} begins at {start:.3f} s")
