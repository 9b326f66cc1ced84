"""Which controls of a meta-model work: each is moved on people who trained nothing, and what is seen is measured.

Pictures are looked at by the face mesh of stage `crop`, another network than the model's own. A control is offered
where what is asked and what is seen correlate by at least LEAST_CORRELATION, and no other measure moves by more than
MOST_LEAK as much, each in its usual spread. What is offered is stored in the model's file, and avatars that are made
with it have it too.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
import pandas as pd
import torch

from reenact.avatar import Avatar
from reenact.data.clip import Clip
from reenact.data.sequence import spread
from reenact.evaluation.descriptor import FaceDescriptor, load_descriptor
from reenact.evaluation.metrics import identity_error_by_frame
from reenact.faces.landmarks import FACE_MEASURES
from reenact.faces.mediapipe_faces import FaceFinder
from reenact.models.model_file import load_model, save_model
from reenact.models.pose_edit import Control, Group
from reenact.models.warping.expression import HEAD_CONTROLS, MOVEMENTS, Expressions, measure
from reenact.models.warping.reenactor import WarpingReenactor
from reenact.rendering.compose import to_bytes
from reenact.runtime.errors import UserError
from reenact.settings.model import PHOTOS

RANGES = {
    "mouth_open": (-0.5, 1.0),
    "smile": (-1.0, 1.0),
    "jaw": (-1.0, 1.0),
    "blink_left": (-0.3, 1.0),
    "blink_right": (-0.3, 1.0),
    "brows": (-1.0, 1.0),
    "gaze_x": (-1.0, 1.0),
    "gaze_y": (-1.0, 1.0),
    "yaw": (-20.0, 20.0),
    "pitch": (-15.0, 15.0),
    "roll": (-20.0, 20.0),
}
"""Control -> the range in which it is tried; head controls in degrees."""
STEPS = 5
"""Values that are tried in each range."""
FITTED_STEPS = 3
"""The same, where mixtures are fitted."""
LEAST_CORRELATION = 0.8
MOST_LEAK = 1 / 3
COUNTERED = 1 / 6
"""How much another measure has to move, against the control's own, to be countered; see `fit_mixtures`."""
COUNTER = 0.5
"""How much of what leaks on some people is countered on all. People differ: countering all of it turned the gaze of the
validation people as far the other way."""
MOST_IDENTITY = 0.05
"""Rise of the identity error that is accepted; frames of one video differ by as much."""
LEAST_REACH = 1.0
"""How far a control has to move its own measure over its range, in the measure's usual spread. What moves less cannot
be told from errors of measurement: it is not offered, and is not counted where others leak."""
UNCOUNTED = ("jaw",)
"""Measures that are not counted where others leak: a chin's usual way aside is half a pixel at 256 px, as much as an
error of one degree in how the head is turned."""
STILL = 0.25
"""Of the mesh's points, those that expressions move least, by which the turn of a head is told."""
REAL_FRAMES = 16
"""Frames of a person that identities are compared with."""


Mixtures: TypeAlias = Mapping[str, Mapping[str, float]]
"""Control -> what moves with it; see `reenact.models.pose_edit.Control`."""


@dataclass(frozen=True)
class Subject:
    """A person to try controls on, who trained nothing.

    Attributes:
        name: for tables.
        crops, mattes: clip files.
    """

    name: str
    crops: Path
    mattes: Path


@dataclass(frozen=True)
class Trial:
    """A control moved on one person.

    Attributes:
        person, control, asked: whose face, what, and how far.
        picture: what is shown, uint8 S x S x 3.
        seen: every measure of the face in it, and identity_error.
    """

    person: str
    control: str
    asked: float
    picture: np.ndarray
    seen: dict[str, float]


class FaceReader:
    """Measures faces in pictures, in the terms of controls.

    Args:
        expressions: of the model.
        finder: finds faces.
        shape: M x 3, canonical, of the person who is looked at.
    """

    def __init__(self, expressions: Expressions, finder: FaceFinder, shape: np.ndarray) -> None:
        self._mean = shape - shape.mean(0)
        still = expressions.face.basis.square().sum((0, 2))
        self._rigid = (still <= still.quantile(STILL)).numpy()
        self._fit = np.linalg.pinv(self._mean[self._rigid] - self._mean[self._rigid].mean(0))
        self._finder = finder

    def read(self, picture: np.ndarray) -> tuple[dict[str, float], np.ndarray] | None:
        """Measures of the face in a picture (uint8 RGB), and its 68 landmarks, px; None where no face is found.

        The points that move least with expressions say how the head is turned; the depth is that of the person's face.
        """
        faces = self._finder.find(picture)
        if not faces:
            return None
        points = faces[0].points.astype(np.float64)
        flat = points[self._rigid]
        projection = (self._fit @ (flat - flat.mean(0))).T
        left, sizes, right = np.linalg.svd(projection, full_matrices=False)
        across, down = left @ right
        turn = np.stack([across, down, np.cross(across, down)])
        depth = self._mean @ turn[2]
        upright = np.column_stack([(points - points.mean(0)) / sizes.mean(), depth - depth.mean()]) @ turn
        found = {name: float(measure(torch.from_numpy(upright), m.measure)) for name, m in MOVEMENTS.items()}
        return found | dict(zip(HEAD_CONTROLS, _angles(turn), strict=True)), faces[0].landmarks


def _angles(turn: np.ndarray) -> list[float]:
    """Yaw, pitch and roll of a rotation, degrees; see `reenact.faces.landmarks.head_angles`."""
    across, down, away = turn
    roll = np.arctan2(down[0], across[0])
    aside = np.cos(roll) * across[2] + np.sin(roll) * down[2]
    up = np.cos(roll) * down[2] - np.sin(roll) * across[2]
    return np.degrees([np.arctan2(-aside, away[2]), np.arcsin(np.clip(up, -1, 1)), roll]).tolist()


def avatar_of(
    net: WarpingReenactor, subject: Subject, mixtures: Mixtures | None = None
) -> tuple[Avatar, np.ndarray, np.ndarray]:
    """An avatar of a person in which every control is free within RANGES; without mixtures each moves alone.

    Returns:
        The avatar, the frames that it was made of, and the canonical face of its first photo, M x 3.
    """
    crops, mattes = Clip(subject.crops), Clip(subject.mattes)
    shown = mattes.table[mattes.table["image"] != ""].merge(crops.table, on="index", suffixes=("_matte", ""))
    rows = shown.iloc[spread(len(shown), 64)]
    frames = crops.images(rows["image"].tolist())
    personal = net.personalised(frames, mattes.images(rows["image_matte"].tolist()), PHOTOS)
    personal.controls = {
        name: Control(
            name, group_of(name), *RANGES[name], unit_of(name), 0, 0, "", 0, (mixtures or {}).get(name, {name: 1})
        )
        for name in RANGES
    }
    assert personal.own is not None
    mesh = personal.own.get_buffer("meshes")[:1].double().numpy()
    shape = net.face.align(mesh).canonical(mesh)[0]
    return Avatar(personal, {}, torch.device("cpu")), frames, shape


def group_of(name: str) -> Group:
    """The group that a control moves."""
    return "head" if name in HEAD_CONTROLS else MOVEMENTS[name].group


def unit_of(name: str) -> str:
    """The unit of a control."""
    return "degrees" if name in HEAD_CONTROLS else ""


def try_controls(
    name: str, avatar: Avatar, frames: np.ndarray, reader: FaceReader, descriptor: FaceDescriptor, steps: int
) -> Iterator[Trial]:
    """Move every control of one person, from low to high, and measure what is seen; 0 is always among the values.

    Args:
        name: the person's.
        avatar: of the person.
        frames: real ones, uint8 N x S x S x 3.
        reader: measures faces.
        descriptor: tells identities.
        steps: values of each range.
    """
    real = [(frame, reader.read(frame)) for frame in frames[spread(len(frames), REAL_FRAMES)]]
    known = np.stack([descriptor.describe(frame, found[1]) for frame, found in real if found])
    for control, (low, high) in RANGES.items():
        for asked in sorted({0.0, *np.linspace(low, high, steps).round(6).tolist()}):
            picture = to_bytes(avatar.render(None, edit={control: asked})[0][0].permute(1, 2, 0).numpy())
            found = reader.read(picture)
            if found is None:
                continue
            who = descriptor.describe(picture, found[1])[None]
            error = float(identity_error_by_frame(who, known)[0])
            yield Trial(name, control, asked, picture, {**found[0], "identity_error": error})


def judge(tried: pd.DataFrame, usual: dict[str, float]) -> pd.DataFrame:
    """How well each control works: a row a control.

    Args:
        tried: columns person, control, asked, every measure, identity_error.
        usual: spread of each measure, see `units`.

    Returns:
        Columns control, people, correlation (of asked and seen, mean over people), worst (person's), reach (how far
        the measure moved over the range, in its usual spread), leak and leaks_to (the other measure that moves most,
        against the control's own), identity (rise of the error at the worse end, mean over people), offered.
    """
    moved = moved_by(tried, usual)
    rows = []
    for name, of_control in tried.groupby("control", sort=False):
        people = [one for _, one in of_control.groupby("person")]
        own, hidden = moved[str(name)], _UNSEEN.get(str(name), ())
        others = own[[m for m in counted(moved) if m != name and m not in hidden]]
        r = [np.corrcoef(one["asked"], one[name])[0, 1] for one in people]
        row = {"control": name, "people": len(people), "correlation": np.mean(r), "worst": min(r)}
        row |= {"reach": own[name], "leak": others.max() / own[name], "leaks_to": others.idxmax()}
        rows.append(row | {"identity": np.mean([_rise(one) for one in people])})
    table = pd.DataFrame(rows)
    good = (table["correlation"] >= LEAST_CORRELATION) & (table["leak"] <= MOST_LEAK)
    return table.assign(offered=good & (table["identity"] <= MOST_IDENTITY) & (table["reach"] >= LEAST_REACH))


def moved_by(tried: pd.DataFrame, usual: dict[str, float]) -> dict[str, pd.Series]:
    """Control -> how far each measure moves over its range, in usual spreads, mean over people."""
    return {
        str(name): pd.DataFrame(
            [{m: _extent(rows, m) / unit for m, unit in usual.items()} for _, rows in of.groupby("person")]
        ).mean()
        for name, of in tried.groupby("control", sort=False)
    }


def counted(moved: dict[str, pd.Series]) -> list[str]:
    """The measures that count where others leak, of what `moved_by` gives."""
    return [name for name in moved if moved[name][name] >= LEAST_REACH and name not in UNCOUNTED]


_SIDEWAYS = ("jaw", "gaze_x", "yaw", "roll")
"""Controls that go the other way in the mirror."""
_UNSEEN = {name: ("gaze_x", "gaze_y") for name in ("blink_left", "blink_right")}
"""Measures that say nothing where a control is moved: an iris behind a lid."""


def _extent(rows: pd.DataFrame, measured: str) -> float:
    """How far a measure moves over a range: of the parabola through what was seen, which leaves out single errors."""
    asked = rows["asked"] / rows["asked"].abs().max()
    return float(np.ptp(np.polyval(np.polyfit(asked, rows[measured], 2), asked)))


def _rise(rows: pd.DataFrame) -> float:
    ends = rows[rows["asked"].isin([rows["asked"].min(), rows["asked"].max()])]
    return float(ends["identity_error"].max() - rows.loc[rows["asked"] == 0, "identity_error"].mean())


def fit_controls(model: Path, people: Sequence[Subject], weights: Path) -> dict[str, dict[str, float]]:
    """What has to move with each control of a meta-model, by what is seen of people who do not judge it; see
    `fit_mixtures`. Nobody = each moves alone."""
    if not people:
        return {name: {name: 1.0} for name in RANGES}
    _, _, tried = measure_controls(model, people, weights, steps=FITTED_STEPS)
    return fit_mixtures(tried, units(Expressions(meta_model(model).face)))


def measure_controls(
    model: Path, people: Sequence[Subject], weights: Path, mixtures: Mixtures | None = None, steps: int = STEPS
) -> tuple[pd.DataFrame, list[Trial], pd.DataFrame]:
    """Try the controls of a meta-model on people.

    Args:
        model: meta-model of the warping family.
        people: who trained nothing.
        weights: dlib's network, for identities.
        mixtures: what moves with each control, of `fit_mixtures`; None = nothing.
        steps: values of each range.

    Returns:
        The table of `judge`, all that was tried, and the same as a table: person, control, asked, every measure.

    Raises:
        UserError: the model is of another family or an avatar, or files are missing.
    """
    net = meta_model(model)
    descriptor, expressions = load_descriptor("dlib", weights), Expressions(net.face)
    trials: list[Trial] = []
    with FaceFinder() as finder:
        for person in people:
            avatar, frames, shape = avatar_of(net, person, mixtures)
            reader = FaceReader(expressions, finder, shape)
            trials += try_controls(person.name, avatar, frames, reader, descriptor, steps)
            print(f"controls: {person.name}, {len(trials)} pictures", flush=True)
    tried = pd.DataFrame([{"person": t.person, "control": t.control, "asked": t.asked, **t.seen} for t in trials])
    return judge(tried, units(expressions)), trials, tried


def units(expressions: Expressions) -> dict[str, float]:
    """Usual spread of each measure, head angles in degrees."""
    angles = {name: FACE_MEASURES[name][1] for name in HEAD_CONTROLS}
    return {name: expressions.spread(name) for name in MOVEMENTS} | angles


def fit_mixtures(tried: pd.DataFrame, usual: dict[str, float]) -> dict[str, dict[str, float]]:
    """What has to move with each control so that little else is seen to move.

    Only what leaks much (COUNTERED) is countered, by the movement of that measure and by half (COUNTER): less is as
    large as the errors of measurement, and eyes that move because they were misread are worse. What is the same on both
    sides of a face is not countered by what is not. Heads turn exactly, and counter nothing.

    Args:
        tried: of controls without mixtures, on other people than they are judged by; columns person, control, asked,
            every measure.
        usual: spread of each measure, see `units`.

    Returns:
        Control -> movement -> how far it goes where the control goes by 1.
    """
    seen = moved_by(tried, usual)
    counters = [name for name in counted(seen) if name in MOVEMENTS]
    found = {name: {name: 1.0} for name in RANGES}
    for name in seen:
        rows = tried[tried["control"] == name]
        for other in counters:
            if other == name or other in _UNSEEN.get(name, ()) or (other in _SIDEWAYS) != (name in _SIDEWAYS):
                continue
            leaked = _slope(rows, other)
            if abs(leaked) * np.ptp(rows["asked"]) / usual[other] >= COUNTERED * seen[name][name]:
                own = _slope(tried[tried["control"] == other], other)
                found[name][other] = round(-COUNTER * leaked / own, 5)
    return found


def _slope(rows: pd.DataFrame, measured: str) -> float:
    """How far a measure moves where a control is moved by 1, mean over people."""
    return float(np.mean([np.polyfit(one["asked"], one[measured], 1)[0] for _, one in rows.groupby("person")]))


def store_controls(model: Path, table: pd.DataFrame, mixtures: Mixtures) -> list[str]:
    """Put the controls that are offered by a table of `judge` into a model's file; their names.

    Raises:
        UserError: the model is of another family or an avatar.
    """
    loaded = load_model(model)
    net = meta_model(model)
    offered = table[table["offered"]]
    net.controls = {
        row.control: Control(
            row.control,
            group_of(row.control),
            *RANGES[row.control],
            unit_of(row.control),
            round(float(row.correlation), 3),
            round(float(row.leak), 3),
            row.leaks_to,
            round(float(row.identity), 4),
            dict(mixtures[row.control]),
        )
        for row in offered.itertuples()
    }
    save_model(model, net, loaded.metadata, half=_is_half(model))
    return list(net.controls)


def _is_half(model: Path) -> bool:
    from safetensors import safe_open

    with safe_open(model, "pt") as file:
        return any(file.get_slice(key).get_dtype() == "F16" for key in file.keys())


def meta_model(path: Path) -> WarpingReenactor:
    """A meta-model of the warping family.

    Raises:
        UserError: it is of another family, or an avatar.
    """
    net = load_model(path).reenactor
    if not isinstance(net, WarpingReenactor) or net.personal:
        kind = "an avatar" if net.personal else f"a model of the {net.family} family"
        raise UserError(f"{path}: is {kind}; controls are measured on a meta-model of the warping family")
    return net.eval()
