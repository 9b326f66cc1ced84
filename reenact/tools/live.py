"""Live driving: a camera's face, followed and cropped as it comes, drives an avatar; latency is measured."""

import secrets
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter

import cv2
import numpy as np
import torch

import reenact
from reenact.avatar import Avatar, person_identity
from reenact.data.images import resize_to, to_tensor
from reenact.faces.crop_pixels import crop_square
from reenact.faces.face import Face, box_iou
from reenact.faces.mediapipe_faces import FaceFinder
from reenact.faces.square import Square, box_square
from reenact.models.family import Identity
from reenact.provenance.stamp import stamp_of
from reenact.rendering.camera import open_camera
from reenact.rendering.compose import to_bytes
from reenact.rendering.pose_filter import OneEuro, pose_edit
from reenact.rendering.screens import open_screen
from reenact.runtime.devices import pick_device
from reenact.settings.live import LiveSettings
from reenact.stages.mark import sign_recording

DETECT_SIDE = 480
"""Longer side of the pictures that faces are looked for in, px."""

LEARNED = 64
"""Faces from the beginning on among which the driver's neutral one is found."""


@dataclass
class Latency:
    """How live it is: times from the arrival of a picture to the moment when the avatar of it has been shown, s."""

    values: list[float] = field(default_factory=list)
    began: float = field(default_factory=perf_counter)

    def text(self) -> str:
        """Frames, frames/s, and median and 95th percentile of the latency."""
        if not self.values:
            return "no face seen yet"
        rate = len(self.values) / max(1e-9, perf_counter() - self.began)
        middle, late = 1000 * np.percentile(self.values, [50, 95])
        return f"{len(self.values)} frames, {rate:.1f} frames/s, latency {middle:.0f} ms (median), {late:.0f} ms (95 %)"


class Follower:
    """Cuts the square around one face out of picture after picture: of several faces the one it has been following.

    The square is smoothed by a one-Euro filter, which needs no later pictures. Where no face is seen it stays.
    """

    def __init__(self, finder: FaceFinder, size: int, settings: LiveSettings) -> None:
        self._finder, self._size, self._settings = finder, size, settings
        self._box: np.ndarray | None = None
        self._filter: OneEuro | None = None
        self._square: Square | None = None

    def __call__(self, image: np.ndarray, time: float) -> np.ndarray | None:
        """The crop of one picture (uint8 RGB) at a time (s): uint8 size x size x 3; None until a face has been seen."""
        scale = max(1.0, max(image.shape[:2]) / DETECT_SIDE)
        size = round(image.shape[1] / scale), round(image.shape[0] / scale)
        small = cv2.resize(image, size, interpolation=cv2.INTER_AREA) if scale > 1 else image
        face = self._chosen([face.moved(scale) for face in self._finder.find(small)])
        if face is not None:
            self._box = face.box
            raw = box_square(face.box, self._settings.scale)
            self._filter = self._filter or OneEuro(self._settings.cutoff, self._settings.beta, scale=raw.side)
            x, y, side = self._filter(time, np.array([raw.centre_x, raw.centre_y, raw.side]))
            self._square = Square(centre_x=x, centre_y=y, side=side)
        return None if self._square is None else crop_square(image, self._square, self._size)

    def _chosen(self, faces: list[Face]) -> Face | None:
        box = self._box
        if box is None or not faces:
            return faces[0] if faces else None
        best = max(faces, key=lambda face: box_iou(face.box, box))
        return best if box_iou(best.box, box) > 0 else faces[0]


class Puppet:
    """An avatar that follows crop after crop.

    The driver's neutral face, where one is needed (`live.pose`), is the calmest of its first LEARNED faces.

    Args:
        avatar: of one person, or a meta-model.
        identity: whom a meta-model shows.
        settings: which parts follow, and what is shown.

    Raises:
        UserError: a model that cannot do what `live.pose` asks.
    """

    def __init__(self, avatar: Avatar, identity: Identity | None, settings: LiveSettings) -> None:
        self._avatar, self._identity, self._settings = avatar, identity, settings
        self._known = torch.zeros(0, avatar.pose_dim)
        avatar.check_edit(pose_edit(settings.pose, self._known))

    def __call__(self, crop: np.ndarray) -> np.ndarray:
        """What is shown for one crop (uint8 S x S x 3): uint8 RGB."""
        pose = self._avatar.pose_embedding(to_tensor(crop[None]))
        if len(self._known) < LEARNED:
            self._known = torch.cat([self._known.to(pose), pose])
        height = self._settings.height
        rgb, _ = self._avatar.render(pose, self._identity, pose_edit(self._settings.pose, self._known))
        ours = to_bytes(resize_to(rgb[0].permute(1, 2, 0).cpu().numpy(), height))
        return np.concatenate([resize_to(crop, height), ours], axis=1) if self._settings.beside else ours


def run_live(
    *,
    model: Path,
    source: str,
    output: str,
    device: str,
    threads: int = 0,
    identity_crops: Path | None = None,
    seconds: float | None = None,
    settings: LiveSettings,
) -> Latency:
    """Drive an avatar by a camera until the user quits, the source ends or the time is over.

    A picture that comes while the one before is being worked on waits only until a newer one comes.

    Args:
        model: an avatar; or a meta-model, which becomes the person of `identity_crops`.
        source: number of a camera, or a video that stands for one.
        output: window, virtual-camera, or the path of an mp4.
        device, threads: see `pick_device`.
        identity_crops: crops of the person, for a meta-model.
        seconds: how long; None = no limit.

    Raises:
        UserError: no such camera, display or file, a meta-model without `identity_crops`, or a model that cannot do
            what `live.pose` asks.
    """
    avatar = Avatar.load(model, str(pick_device(device, threads)), settings.precision)
    puppet = Puppet(avatar, person_identity(avatar, model, identity_crops), settings)
    width = settings.height * (2 if settings.beside else 1)
    stamp = stamp_of(settings.mark, secrets.randbits(32), reenact.__version__)
    latency = Latency()
    with (
        FaceFinder(min_confidence=settings.min_confidence) as finder,
        open_screen(output, width, settings.height, stamp) as show,
    ):
        with open_camera(source) as pictures:
            follow = Follower(finder, avatar.image_size, settings)
            reported = latency.began = perf_counter()
            try:
                for picture in pictures:
                    crop = follow(picture.image, picture.time)
                    shown = crop is None or show(puppet(crop), picture.time)
                    now = perf_counter()
                    if crop is not None:
                        latency.values.append(now - picture.captured)
                    if now - reported >= settings.report_every:
                        reported = now
                        print(f"live: {latency.text()}", flush=True)
                    if not shown or (seconds is not None and now - latency.began >= seconds):
                        break
            except KeyboardInterrupt:
                pass  # the usual way to end it where there is no window
    if stamp and output.endswith(".mp4"):
        sign_recording(Path(output), [model], stamp, composite=settings.beside, settings=settings.mark)
    print(f"live: {latency.text()}", flush=True)
    return latency
