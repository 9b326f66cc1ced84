"""An avatar's pictures at once: of one frame of a driver with motion settings (sliders), or of a webcam's face."""

import secrets
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from time import perf_counter
from typing import TypeVar

import cv2
import numpy as np
import pandas as pd
from torch import Tensor

import reenact
from reenact.avatar import Avatar
from reenact.data.clip import Clip
from reenact.data.images import to_tensor, to_uint8
from reenact.data.sequence import frames_of, spread
from reenact.faces.mediapipe_faces import FaceFinder
from reenact.provenance.stamp import stamp_of
from reenact.rendering.pose_filter import pose_edit, scale_poses
from reenact.runtime.errors import UserError
from reenact.settings.live import LiveSettings
from reenact.settings.mark import MarkSettings
from reenact.settings.render import PoseEditSettings, PoseFilterSettings
from reenact.stages.render import MEAN_FRAMES
from reenact.tools.live import Follower, Puppet

Kept = TypeVar("Kept")
QUALITY = 92


@dataclass(frozen=True)
class DrivingClip:
    """A driver that is kept in memory: its frames, and the pose descriptors of some of them (N x P)."""

    clip: Clip
    table: pd.DataFrame
    sample: Tensor

    def crop_at(self, place: float) -> np.ndarray:
        """The frame at a fraction of the clip, 0 to 1: uint8 RGB."""
        return self.clip.image(self.table["image"].iloc[round(place * (len(self.table) - 1))])


class Webcam:
    """One browser's webcam that drives an avatar."""

    def __init__(self, avatar: Avatar, pose: PoseEditSettings, finder: FaceFinder) -> None:
        settings = LiveSettings(height=avatar.image_size, pose=pose)
        self.follow = Follower(finder, avatar.image_size, settings)
        self.puppet = Puppet(avatar, None, settings)
        self.pose = pose
        self.began = perf_counter()


class Stills:
    """Keeps the last avatars, drivers and webcams; one picture is made at a time."""

    def __init__(self, device: str = "auto") -> None:
        self._device = device
        self._lock = Lock()
        self._avatars: OrderedDict[tuple, Avatar] = OrderedDict()
        self._drivers: OrderedDict[tuple, DrivingClip] = OrderedDict()
        self._webcams: OrderedDict[tuple, Webcam] = OrderedDict()
        self._number = secrets.randbits(32)

    def avatar(self, model: Path) -> Avatar:
        """An avatar, loaded unless it is already."""
        return _kept(self._avatars, (model, model.stat().st_mtime_ns), lambda: Avatar.load(model, self._device), 2)

    def edit(
        self, model: Path, crops: Path, place: float, pose: PoseFilterSettings, mark: MarkSettings
    ) -> tuple[bytes, bytes]:
        """The avatar at one frame of the driver.

        Args:
            model: the avatar.
            crops: of the driver.
            place: which frame, a fraction of the clip.
            pose: what is done to the motion.
            mark: what the picture says about itself.

        Returns:
            The avatar's picture, and the driver's frame; JPEG.

        Raises:
            UserError: this model cannot do what `pose` asks.
        """
        with self._lock:
            avatar, key = self.avatar(model), (model, model.stat().st_mtime_ns, crops, crops.stat().st_mtime_ns)
            driver = _kept(self._drivers, key, lambda: _driving(avatar, crops), 4)
            crop = driver.crop_at(place)
            descriptor = avatar.pose_embedding(to_tensor(crop[None]))
            descriptor = scale_poses(descriptor, driver.sample.mean(0, keepdim=True), pose.intensity)
            rgb, _ = avatar.render(descriptor, edit=pose_edit(pose, driver.sample))
            return self._shown(to_uint8(rgb)[0], mark), _encoded(crop)

    def live(self, model: Path, session: str, image: bytes, pose: PoseEditSettings, mark: MarkSettings) -> bytes | None:
        """The avatar doing what a webcam's picture shows.

        Args:
            model: the avatar.
            session: which webcam; its face is followed from picture to picture.
            image: JPEG.
            pose: which parts are followed.
            mark: what the picture says about itself.

        Returns:
            JPEG; None until a face has been seen.

        Raises:
            UserError: no picture, or this model cannot do what `pose` asks.
        """
        pixels = cv2.imdecode(np.frombuffer(image, np.uint8), cv2.IMREAD_COLOR)
        if pixels is None:
            raise UserError("the webcam's picture cannot be read; JPEG is needed")
        with self._lock:
            avatar, key = self.avatar(model), (session, model, model.stat().st_mtime_ns)
            webcam = _kept(self._webcams, key, lambda: Webcam(avatar, pose, FaceFinder()), 4)
            if webcam.pose != pose:
                webcam.puppet, webcam.pose = (
                    Puppet(avatar, None, LiveSettings(height=avatar.image_size, pose=pose)),
                    pose,
                )
            crop = webcam.follow(np.ascontiguousarray(pixels[..., ::-1]), perf_counter() - webcam.began)
            return None if crop is None else self._shown(webcam.puppet(crop), mark)

    def _shown(self, picture: np.ndarray, mark: MarkSettings) -> bytes:
        """A picture as it is sent: with its watermark, as JPEG."""
        stamp = stamp_of(mark, self._number, reenact.__version__)
        if stamp:
            picture = stamp.marker(picture.shape[1], picture.shape[0])(picture, 0.0)
        return _encoded(picture)


def _driving(avatar: Avatar, crops: Path) -> DrivingClip:
    clip = Clip(crops)
    table = frames_of(clip, "drive")
    if table.empty:
        raise UserError(f"{crops}: no frame to drive with; run stage crop of the driver again")
    names = table["image"].tolist()
    sample = avatar.pose_embedding(to_tensor(clip.images([names[i] for i in spread(len(names), MEAN_FRAMES)])))
    return DrivingClip(clip, table, sample)


def _encoded(picture: np.ndarray) -> bytes:
    """uint8 RGB as JPEG."""
    return cv2.imencode(".jpg", picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1].tobytes()


def _kept(store: OrderedDict[tuple, Kept], key: tuple, make: Callable[[], Kept], most: int) -> Kept:
    """What is stored under a key, made if it is not there; the one that was used longest ago goes."""
    if key not in store:
        store[key] = make()
    store.move_to_end(key)
    while len(store) > most:
        store.popitem(last=False)
    return store[key]
