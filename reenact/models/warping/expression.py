"""Expressions as movements of the canonical mesh: which points belong to which part, and how a control moves them.

A control has a measure, a weighted sum of coordinates of the mesh (how far apart the lips are). Its movement is what a
face does on average where that measure alone is another one and all others stay: with directions of the mesh that are
uncorrelated and of unit spread [`reenact.training.warping.fit`], the conditional mean, a least-squares solution. Only
the control's own part of the face moves by it, with soft borders.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn import functional

from reenact.faces.blendshapes import BLENDSHAPES
from reenact.models.pose_edit import Group, PoseEdit
from reenact.models.warping.face_model import FaceModel, ReadPose, rotation
from reenact.models.warping.mesh import EYES

EXPRESSION: tuple[Group, ...] = ("mouth", "eyes", "brows")
"""Groups of the mesh; the head is moved as a whole."""

HEAD_CONTROLS = ("yaw", "pitch", "roll")
"""Degrees; see `reenact.faces.landmarks.head_angles` for their signs."""

X, Y = 0, 1
LEFT_LIDS, RIGHT_LIDS = ((373, 374, 380), (387, 386, 385)), ((145, 144, 153), (159, 160, 158))
"""Lower and upper lid of the person's own left and right eye, in pairs."""
LIPS = ((87, 14, 317), (82, 13, 312))
CORNERS = (61, 291)
BROWS = ((46, 53, 52, 65, 55, 70, 63, 105, 66, 107), (276, 283, 282, 295, 285, 300, 293, 334, 296, 336))
MOUTH_SEEDS = (61, 291, 0, 17, 13, 14, 39, 269, 181, 405, 2, 152, 172, 397, 136, 365, 205, 425, 187, 411, 132, 361)
BORDER = 0.03
"""Width of the soft border between parts, of the mean mesh's unit."""

Terms = tuple[tuple[tuple[int, ...], int, float], ...]
"""Points, axis, and the weight of their mean: a measure is the sum."""


def _gap(pair: tuple[tuple[int, ...], tuple[int, ...]], sign: float = 1.0) -> Terms:
    """How far lower points lie below upper ones."""
    return (pair[0], Y, sign), (pair[1], Y, -sign)


@dataclass(frozen=True)
class Movement:
    """How a control moves the mesh.

    Attributes:
        group: the part that moves.
        measure: what it changes.
        full: at 1, in usual spreads of the measure; 0 = until the measure is 0, which closes a gap.
        blendshapes: what the refiner is told at 1: name -> how much more.
        side: 1 or -1 where only that side moves (x of the canonical mesh), 0 = both.
    """

    group: Group
    measure: Terms
    full: float
    blendshapes: Mapping[str, float] = field(default_factory=dict)
    side: int = 0


def _both(name: str, value: float) -> dict[str, float]:
    return {f"{name}Left": value, f"{name}Right": value}


def _blink(lids: tuple[tuple[int, ...], tuple[int, ...]], name: str, side: int) -> Movement:
    return Movement("eyes", _gap(lids, -1.0), 0.0, {f"eyeBlink{name}": 0.6}, side)


_EYE_MIDDLES, _IRISES = (33, 133, 263, 362), (468, 473)

MOVEMENTS: dict[str, Movement] = {
    "mouth_open": Movement("mouth", _gap(LIPS), 4.0, {"jawOpen": 0.5}),
    "smile": Movement(
        "mouth",
        ((CORNERS, Y, -0.7), ((33, 263), Y, 0.7), ((CORNERS[1],), X, 0.35), ((CORNERS[0],), X, -0.35)),
        3.0,
        _both("mouthSmile", 0.7),
    ),
    "jaw": Movement("mouth", (((152,), X, 1.0), ((1, 2), X, -1.0)), 8.0, {"jawLeft": 0.1, "jawRight": -0.1}),
    "blink_left": _blink(LEFT_LIDS, "Left", 1),
    "blink_right": _blink(RIGHT_LIDS, "Right", -1),
    "brows": Movement(
        "brows",
        (((*BROWS[0], *BROWS[1]), Y, -1.0), (_EYE_MIDDLES, Y, 1.0)),
        3.0,
        {"browInnerUp": 0.5, **_both("browOuterUp", 0.5), **_both("browDown", -0.3)},
    ),
    "gaze_x": Movement(
        "eyes",
        ((_IRISES, X, 1.0), (_EYE_MIDDLES, X, -1.0)),
        5.0,
        {"eyeLookInRight": 0.3, "eyeLookOutLeft": 0.3, "eyeLookInLeft": -0.3, "eyeLookOutRight": -0.3},
    ),
    "gaze_y": Movement(
        "eyes",
        ((_IRISES, Y, -1.0), (_EYE_MIDDLES, Y, 1.0)),
        5.0,
        {**_both("eyeLookUp", 0.3), **_both("eyeLookDown", -0.3)},
    ),
}
"""Left and right are the person's own; x grows to the picture's right, where the person's left is."""


def measure(mesh: Tensor, terms: Terms) -> Tensor:
    """A measure of canonical meshes: ... x M x 3 -> ..., in their unit."""
    return sum(weight * mesh[..., list(points), axis].mean(-1) for points, axis, weight in terms)


def lid_gap(mesh: Tensor, lids: tuple[tuple[int, ...], tuple[int, ...]]) -> Tensor:
    """How far an eye is open in canonical meshes, or the lips: ... x M x 3 -> ..., in their unit."""
    return measure(mesh, _gap(lids))


@dataclass(frozen=True)
class Face:
    """Faces as numbers.

    Attributes:
        shape: B x M x 3, canonical.
        head: B x HEAD.
        blendshapes: B x E, in standard deviations.
    """

    shape: Tensor
    head: Tensor
    blendshapes: Tensor


def face_of(read: ReadPose, neutral: Tensor, head_offset: Tensor) -> Face:
    """What descriptors say, on a person's face: `neutral` M x 3 and `head_offset` HEAD as in `References`."""
    return Face(neutral + read.shape, head_offset + read.head, read.blendshapes)


class Expressions:
    """Groups and movements of a face model.

    Args:
        face: the face model.
    """

    def __init__(self, face: FaceModel) -> None:
        self.face = face
        self.parts = _parts(face.mean)
        names = BLENDSHAPES[: len(face.blendshape_std)]
        owners = torch.tensor([EXPRESSION.index(_owner(name)) for name in names], device=face.mean.device)
        self.owners = functional.one_hot(owners, len(EXPRESSION)).T.float()
        self._fields = self._movements()
        told = {name: [m.blendshapes.get(shape, 0.0) for shape in names] for name, m in MOVEMENTS.items()}
        self._told = {name: face.mean.new_tensor(values) / face.blendshape_std for name, values in told.items()}

    def _movements(self) -> dict[str, Tensor]:
        """Control -> how the mesh moves where its measure grows by 1: M x 3."""
        basis = self.face.basis
        rows = torch.stack([measure(basis, movement.measure) for movement in MOVEMENTS.values()]).cpu().double()
        pull = 1e-3 * rows.square().sum(1).mean().clamp_min(1e-12)
        inverse = rows.T @ torch.linalg.inv(rows @ rows.T + pull * torch.eye(len(rows)).to(rows))
        moved = []
        for movement, step in zip(MOVEMENTS.values(), inverse.T.to(basis), strict=True):
            part = torch.einsum("d,dmc->mc", step, basis) * self.parts[EXPRESSION.index(movement.group), :, None]
            if movement.side:
                part = part * torch.sigmoid(movement.side * self.face.mean[:, :1] / (BORDER / 4))
            moved.append(part)
        fields = torch.stack(moved)
        # At the borders of its part a movement touches others' measures: mixed so that each changes its own alone.
        grown = torch.stack([measure(fields, movement.measure) for movement in MOVEMENTS.values()], 1).cpu().double()
        fields = torch.einsum("kj,jmc->kmc", torch.linalg.pinv(grown).to(fields), fields)
        return dict(zip(MOVEMENTS, fields, strict=True))

    def spread(self, name: str) -> float:
        """How far a measure usually is from a person's usual one, in the mean mesh's unit."""
        return float(measure(self.face.basis, MOVEMENTS[name].measure).square().sum().sqrt())

    def moved(self, face: Face, own: Tensor, controls: Mapping[str, float]) -> Face:
        """Faces with controls moved.

        Args:
            face: B of them.
            own: 1 x M x 3, the person's own shape: how much lids have to move to close.
            controls: name -> how far.
        """
        shape, blendshapes = face.shape, face.blendshapes
        for name, movement in MOVEMENTS.items():
            if not (value := controls.get(name, 0.0)):
                continue
            full = movement.full * self.spread(name) if movement.full else -measure(own, movement.measure).item()
            shape = shape + value * full * self._fields[name]
            blendshapes = blendshapes + value * self._told[name]
        head = turned(face.head, [controls.get(name, 0.0) for name in HEAD_CONTROLS])
        return Face(shape, head, blendshapes.clamp(-4, 4))

    def following(self, own: Face, said: Face, edit: PoseEdit) -> Face:
        """What is shown of what a driver says, by the gains of the groups; see `reenact.models.pose_edit`.

        Args:
            own: the person's, B = 1.
            said: what the driver says, B of them.
            edit: what is wanted.
        """
        gains = own.shape.new_tensor([edit.gains.get(group, 1.0) for group in EXPRESSION])
        points, shapes = gains @ self.parts, gains @ self.owners
        return Face(
            own.shape + points[:, None] * (said.shape - own.shape),
            _between(own.head, said.head, edit.gains.get("head", 1.0)),
            (own.blendshapes + shapes * (said.blendshapes - own.blendshapes)).clamp(-4, 4),
        )

    def retargeted(self, said: Face, usual: Face, drivers: Face, edit: PoseEdit) -> Face:
        """Lids and lips as far open as the driver's, in the person's own measure.

        Args:
            said: what the driver says of the person, B of them.
            usual: the person's usual face, B = 1.
            drivers: the driver's faces, B of them, then its usual one.
            edit: what is wanted.
        """
        shape = said.shape
        for part in edit.retarget:
            for name in _OPENINGS[part]:
                *_, sign = MOVEMENTS[name].measure[0]
                gap = (sign * measure(drivers.shape, MOVEMENTS[name].measure)).clamp_min(0)
                if part == "lips":
                    wanted = gap[:-1] * _mouth_width(usual.shape) / _mouth_width(drivers.shape[-1:])
                else:
                    full = sign * measure(usual.shape, MOVEMENTS[name].measure)
                    wanted = full * gap[:-1] / gap[-1:].clamp_min(_LEAST_OPEN)
                change = sign * wanted - measure(shape, MOVEMENTS[name].measure)
                shape = shape + change[:, None, None] * self._fields[name]
        return Face(shape, said.head, said.blendshapes)


_OPENINGS: dict[str, tuple[str, ...]] = {"eyes": ("blink_left", "blink_right"), "lips": ("mouth_open",)}
_LEAST_OPEN = 0.005
"""Of lids that are taken for open, of the mean mesh's unit, whose lids are 0.026 apart."""


def _mouth_width(shape: Tensor) -> Tensor:
    return (shape[:, CORNERS[1]] - shape[:, CORNERS[0]]).norm(dim=1)


def _parts(mean: Tensor) -> Tensor:
    """How far each point belongs to each of EXPRESSION: 3 x M, sums to 1; by the nearest points of each part."""
    seeds = (MOUTH_SEEDS, (*EYES[0], *EYES[1]), (*BROWS[0], *BROWS[1]))
    far = torch.stack([torch.cdist(mean, mean[list(points)]).amin(1) for points in seeds])
    return torch.softmax(-far / (BORDER / 3), 0)


def _owner(blendshape: str) -> Group:
    if blendshape.startswith("brow"):
        return "brows"
    return "eyes" if blendshape.startswith("eye") else "mouth"


# ---- where a head is ------------------------------------------------------------------------------------------


def turned(head: Tensor, degrees: list[float]) -> Tensor:
    """Heads B x HEAD turned further by yaw, pitch and roll (degrees) about the crop's axes."""
    if not any(degrees):
        return head
    yaw, pitch, roll = (torch.tensor(value).deg2rad() for value in degrees)
    about_y = _about(yaw, 0, 2)
    about_x = _about(pitch, 2, 1)
    about_z = _about(roll, 0, 1)
    return _with_rotation(head, (about_z @ about_x @ about_y).to(head) @ rotation(head))


def _about(angle: Tensor, first: int, second: int) -> Tensor:
    """The rotation that carries axis `first` towards axis `second`: 3 x 3."""
    found = torch.eye(3)
    found[first, first] = found[second, second] = angle.cos()
    found[second, first], found[first, second] = angle.sin(), -angle.sin()
    return found


def _with_rotation(head: Tensor, turn: Tensor) -> Tensor:
    return torch.cat([turn[:, :, 0], turn[:, :, 1], head[:, 6:].expand(len(turn), -1)], 1)


def _between(own: Tensor, said: Tensor, gain: float) -> Tensor:
    """Heads at a fraction of the way from the person's own (1 x HEAD) to what is said (B x HEAD), or beyond it."""
    if gain == 1:
        return said
    change = rotation(said) @ rotation(own).transpose(1, 2)
    place = own[:, 6:] + gain * (said[:, 6:] - own[:, 6:])
    return _with_rotation(torch.cat([said[:, :6], place], 1), _power(change, gain) @ rotation(own))


def _power(turn: Tensor, gain: float) -> Tensor:
    """Rotations B x 3 x 3, `gain` times as far."""
    cos = ((turn.diagonal(dim1=1, dim2=2).sum(1) - 1) / 2).clamp(-1, 1)
    axis = torch.stack([turn[:, 2, 1] - turn[:, 1, 2], turn[:, 0, 2] - turn[:, 2, 0], turn[:, 1, 0] - turn[:, 0, 1]], 1)
    angle = torch.atan2(axis.norm(dim=1) / 2, cos)
    axis = functional.normalize(axis, dim=1)
    zero = torch.zeros_like(angle)
    x, y, z = axis.unbind(1)
    cross = torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], 1).view(-1, 3, 3)
    further = (gain * angle)[:, None, None]
    return torch.eye(3).to(turn) + further.sin() * cross + (1 - further.cos()) * cross @ cross


def added(own: Face, change: Face, since: Face) -> Face:
    """The person's own face (B = 1) with a driver's change (B faces) since its neutral one (B = 1) added."""
    turn = rotation(change.head) @ rotation(since.head).transpose(1, 2) @ rotation(own.head)
    head = torch.cat([change.head[:, :6], own.head[:, 6:] + change.head[:, 6:] - since.head[:, 6:]], 1)
    return Face(
        own.shape + change.shape - since.shape,
        _with_rotation(head, turn),
        own.blendshapes + change.blendshapes - since.blendshapes,
    )
