"""Smoothing and scaling of a driver's motion, on its way from pose encoder to generator; which parts are followed."""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from reenact.models.pose_edit import PoseEdit
from reenact.settings.render import PoseEditSettings, PoseFilterSettings


@dataclass(frozen=True)
class DriverBatch:
    """Consecutive frames of a driver with their pose descriptors.

    Attributes:
        rows: numbers of the frames, b.
        times: of the frames, s.
        crops: uint8 H x H x 3 each.
        pose: b x P.
    """

    rows: list[int]
    times: list[float]
    crops: list[np.ndarray]
    pose: Tensor


class OneEuro:
    """One-Euro filter (Casiez, Roussel, Vogel, CHI 2012): a low pass whose cutoff rises with speed. Causal.

    All values of a sample share one cutoff, by their joint speed, so that the filter bends no direction.

    Args:
        cutoff: of a value at rest, Hz.
        beta: Hz of cutoff for each unit of speed.
        scale: what counts as a unit of the values: their standard deviation.
        speed_cutoff: of the speed's own low pass, Hz.
    """

    def __init__(self, cutoff: float, beta: float, scale: float = 1.0, speed_cutoff: float = 1.0) -> None:
        self._cutoff, self._beta, self._scale, self._speed_cutoff = cutoff, beta, max(scale, 1e-9), speed_cutoff
        self._time: float | None = None
        self._raw = self._value = self._velocity = np.zeros(0)

    def __call__(self, time: float, sample: np.ndarray) -> np.ndarray:
        """Filter the sample (any shape) of one moment (s); the first, and one that is not later, pass as they are."""
        if self._time is None or time <= self._time:
            self._raw = self._value = sample
            self._velocity = np.zeros_like(sample)
        else:
            step = time - self._time
            self._velocity = _low_pass(self._velocity, (sample - self._raw) / step, self._speed_cutoff, step)
            speed = float(np.sqrt(np.mean(self._velocity**2))) / self._scale
            self._value = _low_pass(self._value, sample, self._cutoff + self._beta * speed, step)
            self._raw = sample
        self._time = time
        return self._value


def _low_pass(old: np.ndarray, new: np.ndarray, cutoff: float, step: float) -> np.ndarray:
    """One step of a first-order low pass."""
    alpha = 1 / (1 + 1 / (2 * np.pi * cutoff * step))
    return old + alpha * (new - old)


def needs_sample(settings: PoseFilterSettings) -> bool:
    """Whether a frame depends on what the driver does at other times, so that a sample of it is worth its time."""
    return settings.smoothing == "one_euro" or settings.intensity != 1 or settings.relative or bool(settings.retarget)


def filter_poses(
    batches: Iterator[DriverBatch], settings: PoseFilterSettings, sample: Tensor | None
) -> Iterator[DriverBatch]:
    """The same frames with smoothed and scaled motion.

    Args:
        batches: in order of time.
        settings: what to do.
        sample: N x P pose descriptors spread over the driver, for its mean pose and standard deviation; None where
            `needs_sample` says so.
    """
    mean = None if sample is None else sample.mean(0, keepdim=True)
    if settings.smoothing == "one_euro":
        assert sample is not None and mean is not None
        std = float((sample - mean).square().mean().sqrt())
        batches = one_euro(batches, OneEuro(settings.cutoff, settings.beta, std))
    elif settings.smoothing == "savgol":
        batches = savgol(batches, settings.window, settings.order)
    for batch in batches:
        yield batch if mean is None else replace(batch, pose=scale_poses(batch.pose, mean, settings.intensity))


def scale_poses(pose: Tensor, mean: Tensor, intensity: float) -> Tensor:
    """Pose descriptors B x P scaled about `mean` (1 x P); 1 leaves them, 0 stands still in the mean pose."""
    return pose if intensity == 1 else mean + intensity * (pose - mean)


def pose_edit(settings: PoseEditSettings, sample: Tensor | None) -> PoseEdit:
    """What the settings ask of the model.

    Args:
        settings: what to do.
        sample: N x P pose descriptors spread over the driver, in which its neutral frame is found; None where
            `needs_sample` says so.
    """
    return PoseEdit(
        controls=settings.controls,
        gains=settings.group_gains(),
        relative=settings.relative,
        retarget=tuple(settings.retarget),
        driver=sample,
    )


def one_euro(batches: Iterator[DriverBatch], smooth: OneEuro) -> Iterator[DriverBatch]:
    """Poses through a one-Euro filter at the frames' own times."""
    for batch in batches:
        rows = [smooth(time, pose) for time, pose in zip(batch.times, batch.pose.double().cpu().numpy(), strict=True)]
        yield replace(batch, pose=torch.from_numpy(np.stack(rows)).to(batch.pose))


def savgol(batches: Iterator[DriverBatch], window: int, order: int) -> Iterator[DriverBatch]:
    """Poses through a Savitzky-Golay filter over frames (scipy's, mode "interp"): as if over the whole clip at once.

    Frames wait until half a window has come after them; memory does not grow with the clip. A clip shorter than the
    window passes through the longest window that it has room for, or unchanged.
    """
    # Only here: it takes half a second.
    from scipy.signal import savgol_filter

    held: deque[DriverBatch] = deque()
    known = np.zeros((0, 0))  # poses before, in and after the first held batch
    before = 0

    def smooth_first(width: int) -> DriverBatch:
        """The first held batch, smoothed; what is not needed any more is forgotten."""
        nonlocal known, before
        batch = held.popleft()
        count = len(batch.rows)
        smooth = savgol_filter(known, width, order, axis=0, mode="interp") if width > order else known
        result = replace(batch, pose=torch.from_numpy(smooth[before : before + count].copy()).to(batch.pose))
        spare = max(0, before + count - window)
        known, before = known[spare:], before + count - spare
        return result

    for batch in batches:
        pose = batch.pose.double().cpu().numpy()
        known = np.concatenate([known, pose]) if len(known) else pose
        held.append(batch)
        while held and len(known) >= max(window, before + len(held[0].rows) + window // 2):
            yield smooth_first(window)
    odd = len(known) - (len(known) + 1) % 2
    while held:
        yield smooth_first(min(window, odd))
