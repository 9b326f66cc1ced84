"""The API of people, drivers and their media."""

from typing import Annotated, Any

from fastapi import APIRouter, Path, Request, Response
from pydantic import BaseModel, Field

from reenact.project.folder import Project
from reenact.settings.mark import Consent
from reenact.settings.workflow import ClipSettings
from reenact.studio.desk import Conflict, Desk
from reenact.studio.uploads import Upload
from reenact.studio.views import LookedAt, Lost
from reenact.studio.words import NAME, Done, Name, TheDesk

router = APIRouter(prefix="/api", tags=["people and media"])
UploadId = Annotated[str, Field(pattern=r"^[0-9a-f]{16}$")]


class ProjectInfo(BaseModel):
    """The project of this server."""

    folder: str
    exists: bool = Field(description="Whether there is a config.yaml yet.")


class ClipInfo(BaseModel):
    """A person or driver."""

    name: str
    media: str = Field(description="Relative to the project's folder.")
    settings: dict[str, Any] = Field(description="What config.yaml says of them.")
    cropped: bool = Field(description="Whether their crops are there.")


class NewClip(BaseModel):
    """What a person and a driver have in common."""

    name: str = Field(pattern=NAME, description="Letters, digits, '-' and '_'.")
    media: list[UploadId] = Field(min_length=1, max_length=1000, description="Ids of uploads: photos, or one video.")


class NewIdentity(NewClip):
    """A person who becomes an avatar."""

    consent: Consent = Field(description="Why this face may be used.")
    consent_note: str = Field(default="", max_length=500)
    holdout: float | None = Field(default=None, ge=0, le=0.8)


class NewDriver(NewClip):
    """A video that avatars follow."""

    start: float | str | None = None
    end: float | str | None = None


class FaceWish(BaseModel):
    """Who is meant."""

    face: str = Field(max_length=64, description='largest, most_central, a number, or such as "37.5%,22% at 1.2".')


class Frames(BaseModel):
    """What became of a clip's frames."""

    description: str
    lost: list[Lost]


@router.get("/project")
def project(desk: TheDesk) -> ProjectInfo:
    """The folder, and whether it is a project yet."""
    return ProjectInfo(folder=str(desk.folder), exists=(desk.folder / "config.yaml").is_file())


@router.post("/project", status_code=201)
def create_project(desk: TheDesk) -> ProjectInfo:
    """Make the folder a project: a config.yaml with nobody in it yet."""
    if (desk.folder / "config.yaml").exists():
        raise Conflict(f"{desk.folder}: is a project already")
    Project.create(desk.folder)
    return project(desk)


@router.post(
    "/media",
    status_code=201,
    openapi_extra={"requestBody": {"content": {"application/octet-stream": {}}, "required": True}},
)
async def upload(request: Request, desk: TheDesk) -> Upload:
    """Send one photo or video: the body is the file. It waits until a person or driver is made of it."""
    desk.project()
    return await desk.uploads.take(request.stream())


@router.delete("/media/{number}", status_code=204)
def drop_upload(number: Annotated[str, Path(pattern=r"^[0-9a-f]{16}$")], desk: TheDesk) -> Response:
    """Drop a file that waits."""
    desk.uploads.path(number).unlink(missing_ok=True)
    return Response(status_code=204)


@router.get("/identities")
def identities(desk: TheDesk) -> list[ClipInfo]:
    """The people."""
    return [_info(desk, name, clip) for name, clip in desk.config().identities.items()]


@router.post("/identities", status_code=201)
def add_identity(new: NewIdentity, desk: TheDesk) -> ClipInfo:
    """Make a person of photos or a video that were sent."""
    _check_free(desk, new.name)
    with desk.uploads.claim(new.media, desk.folder / "photos" / new.name) as media:
        desk.project().add_identity(
            new.name, media, consent=new.consent, consent_note=new.consent_note or None, holdout=new.holdout
        )
    return _info(desk, new.name, desk.clip(new.name))


@router.get("/drivers")
def drivers(desk: TheDesk) -> list[ClipInfo]:
    """The drivers."""
    return [_info(desk, name, clip) for name, clip in desk.config().drivers.items()]


@router.post("/drivers", status_code=201)
def add_driver(new: NewDriver, desk: TheDesk) -> ClipInfo:
    """Make a driver of a video that was sent."""
    _check_free(desk, new.name)
    with desk.uploads.claim(new.media, desk.folder / "videos" / new.name) as media:
        desk.project().add_driver(new.name, media, start=new.start, end=new.end)
    return _info(desk, new.name, desk.clip(new.name))


@router.delete("/clips/{name}")
def remove(name: Name, desk: TheDesk) -> Done:
    """Take a person or driver out of the configuration. Media and results stay."""
    desk.remove(name)
    return Done(
        done=f"{name} is out of the project; photos, videos and results are kept.", undo=f"/api/clips/{name}/restore"
    )


@router.post("/clips/{name}/restore")
def restore(name: Name, desk: TheDesk) -> Done:
    """Put somebody back who was taken out."""
    desk.restore(name)
    return Done(done=f"{name} is back.")


@router.get("/clips/{name}/faces")
def faces(name: Name, desk: TheDesk) -> list[LookedAt]:
    """Faces in a few photos or frames, each with the setting that means it."""
    from reenact.studio.footage import look  # it loads the networks that find faces

    return look(desk.media(name), desk.config().crop)


@router.put("/clips/{name}/face")
def choose_face(name: Name, wish: FaceWish, desk: TheDesk) -> Done:
    """Say who is meant, where several people are seen."""
    section = "identities" if name in desk.config().identities else "drivers"
    desk.clip(name)
    desk.project().set(f"{section}.{name}.face", wish.face)
    return Done(done=f"{name} is the one you chose; the next build cuts out that face.")


@router.get("/clips/{name}/frames")
def frames(name: Name, desk: TheDesk) -> Frames:
    """What became of a clip's frames: in words, and those that were left out, each with its reason."""
    from reenact.studio.footage import footage, lost

    desk.clip(name)
    view = footage(desk.result(), name, 0)
    return Frames(description=view.description, lost=lost(desk.result(), name))


def _check_free(desk: Desk, name: str) -> None:
    config = desk.config()
    if name in config.identities or name in config.drivers:
        raise Conflict(f"{name}: somebody is called so already; choose another name")


def _info(desk: Desk, name: str, clip: ClipSettings) -> ClipInfo:
    said = clip.model_dump(mode="json", exclude_unset=True)
    cropped = desk.result("clips", name, "crops.zip").is_file()
    return ClipInfo(name=name, media=clip.media, settings=said, cropped=cropped)
