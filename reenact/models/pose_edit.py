"""What can be asked of a model beside following a driver: parts that follow less or more, and controls that are moved.

One picture of all of it: a face is some numbers, in groups (mouth, eyes, brows, head). The person has numbers of its
own, those of its best photo; the driver says others. What is shown is

    own + gain of the group * (what the driver says - own) + controls

so that a gain of 0 keeps a group as the person has it (`head`: only the expression follows), 1 follows, and more
exaggerates. What the driver says is either its own numbers, or, with `relative`, the person's own numbers plus the
driver's change from its neutral frame.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal

from torch import Tensor

from reenact.runtime.errors import UserError

Group = Literal["mouth", "eyes", "brows", "head"]
"""Parts that can follow the driver by themselves; jaw and cheeks belong to the mouth."""

Retargeted = Literal["eyes", "lips"]


@dataclass(frozen=True)
class Control:
    """Something that can be moved, as it was measured on people who trained nothing.

    Attributes:
        name: such as smile.
        group: the part of the face that it belongs to.
        low, high: the range that was measured; 0 changes nothing.
        unit: "degrees" (of the head), or "" where 1 is a full expression.
        correlation: Pearson's r of what is asked and what is seen in the picture.
        leak: how much the other measure that moves most does so, against its own; each in its usual spread.
        leaks_to: which one that is.
        identity: how much the identity error rises at the worse end of the range.
        mixture: name of a movement of the model -> how far it goes where this control goes by 1: its own and, so that
            nothing else is seen to move, a little of others.
    """

    name: str
    group: Group
    low: float
    high: float
    unit: str
    correlation: float
    leak: float
    leaks_to: str
    identity: float
    mixture: Mapping[str, float]

    def to_json(self) -> dict[str, Any]:
        """Plain JSON, the inverse of `from_json`."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any], source: str) -> "Control":
        """Read what `to_json` wrote.

        Raises:
            UserError: unknown or missing entries, as in a file of another version; names `source`.
        """
        if set(values) != {entry.name for entry in fields(cls)}:
            raise UserError(f"{source}: its controls are of another version; measure them again")
        return cls(**values)


@dataclass(frozen=True)
class PoseEdit:
    """What is done to the numbers of a face before it is shown; the default does nothing.

    Attributes:
        controls: name of a control -> how far it is moved, in its unit.
        gains: group (mouth, eyes, brows, head) -> how far it follows the driver; 1 where nothing is said.
        relative: the driver's change from its neutral frame is added to the person's own face.
        retarget: eyes: lids are as far open as the driver's, as a fraction of the person's own usual opening; lips:
            they are as far apart as the driver's, as a fraction of the person's own mouth's width.
        driver: N x P, pose descriptors spread over the driver, in which its neutral frame is found: the one with the
            least expression. Needed for `relative`; makes `retarget` exact.
    """

    controls: Mapping[str, float] = field(default_factory=dict)
    gains: Mapping[str, float] = field(default_factory=dict)
    relative: bool = False
    retarget: tuple[Retargeted, ...] = ()
    driver: Tensor | None = None

    @property
    def follows_plainly(self) -> bool:
        """Whether the driver's numbers stay as they are, controls apart."""
        return not self.relative and not self.retarget and all(gain == 1 for gain in self.gains.values())

    @property
    def does_nothing(self) -> bool:
        """Whether a picture is as it would be without."""
        return self.follows_plainly and not any(self.controls.values())


def mixed(asked: Mapping[str, float], offered: Mapping[str, Control]) -> dict[str, float]:
    """How far the movements of a model go where controls are moved; see `Control.mixture`."""
    found: dict[str, float] = {}
    for name, value in asked.items():
        for movement, share in offered[name].mixture.items():
            found[movement] = found.get(movement, 0.0) + value * share
    return found


def check_controls(asked: Mapping[str, float], offered: Mapping[str, Control]) -> None:
    """Refuse controls that a model does not offer, and values beyond their range.

    Raises:
        UserError: see above; names the control, the value and what is allowed.
    """
    for name, value in asked.items():
        if name not in offered:
            have = ", ".join(sorted(offered)) or "none; workflow_scripts.controls measures which of a meta-model work"
            raise UserError(f"control {name!r}: this model does not offer it (it offers: {have})")
        control = offered[name]
        if not control.low <= value <= control.high:
            unit = f" {control.unit}" if control.unit else ""
            raise UserError(f"control {name}: {value:g}{unit}; allowed: {control.low:g} to {control.high:g}{unit}")
