"""What the API and the pages say of faces, frames and avatars; light to import, while what fills them is not."""

from dataclasses import dataclass


@dataclass(frozen=True)
class FoundFace:
    """A face in one frame.

    Attributes:
        left, top, width, height: of its box, fractions of the frame.
        setting: what `face` says to mean this one, such as "37.5%,22.0% at 1.2".
        picture: of the face, a data: URI.
    """

    left: float
    top: float
    width: float
    height: float
    setting: str
    picture: str


@dataclass(frozen=True)
class LookedAt:
    """A frame of a video, or a photo, with the faces in it from left to right.

    Attributes:
        label: for people, such as "photo 3" or "1.2 s".
        picture: a data: URI.
    """

    label: str
    width: int
    height: int
    picture: str
    faces: list[FoundFace]


@dataclass(frozen=True)
class Lost:
    """A frame that is not used: when or which photo, and why."""

    label: str
    reason: str


@dataclass(frozen=True)
class Take:
    """One iteration of a sweep.

    Attributes:
        iteration: 0 = not fine-tuned.
        chosen: whether it is the avatar.
        pictures: data: URIs, one for each shown frame of the driver.
        identity_error, pose_error: on the frames that decide; None where they were not measured.
    """

    iteration: int
    chosen: bool
    pictures: list[str]
    identity_error: float | None = None
    pose_error: float | None = None


@dataclass(frozen=True)
class AvatarView:
    """An avatar, as far as it is built.

    Attributes:
        name: of the person.
        built: whether the model is there.
        iteration, chosen_by, reason: of the choice; None before it.
        driver: whose frames are shown.
        driven: pictures of the driver, data: URIs.
        takes: the iterations, in increasing order.
    """

    name: str
    built: bool
    iteration: int | None
    chosen_by: str | None
    reason: str | None
    driver: str
    driven: list[str]
    takes: list[Take]
