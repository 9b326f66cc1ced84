"""The API of what is made: avatars and their iterations, videos, stills, live driving, and verification."""

import base64
import json
import tempfile
from dataclasses import replace
from pathlib import Path as File
from time import perf_counter
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request, Response
from fastapi.responses import FileResponse
from pydantic import BaseModel, Field
from starlette.concurrency import run_in_threadpool

from reenact.project.build import BuildState
from reenact.runtime.errors import UserError
from reenact.settings.mark import MarkSettings
from reenact.settings.reading import read
from reenact.settings.render import PoseEditSettings, PoseFilterSettings
from reenact.studio.api_build import begin
from reenact.studio.desk import Desk, Unknown
from reenact.studio.uploads import WrongType, beginning, check_pixels, suffix_of
from reenact.studio.views import AvatarView
from reenact.studio.words import NAME, Name, TheDesk

router = APIRouter(prefix="/api", tags=["avatars and videos"])
TYPES = {".mp4": "video/mp4", ".mov": "video/quicktime", ".webm": "video/webm"}


class ChoiceWish(BaseModel):
    """Which iteration becomes the avatar."""

    iteration: int | None = Field(ge=0, description="null = what the rule of stage select says.")


class Rendered(BaseModel):
    """One output of one pair."""

    identity: str
    driver: str
    output: str = Field(description="avatar, side_by_side ...")
    file: str = Field(description="Relative to the project's folder.")
    bytes: int
    changed: int = Field(description="When it was written, ns since 1970.")
    url: str


class Motion(BaseModel):
    """What is done to the driver's motion."""

    pose: dict[str, Any] = Field(default={}, description="Settings of render.pose; what is left out is as configured.")


class EditWish(Motion):
    """A still of an avatar."""

    identity: str = Field(pattern=NAME)
    driver: str = Field(pattern=NAME)
    place: float = Field(default=0.0, ge=0, le=1, description="Which frame of the driver, as a fraction of it.")


class Edit(BaseModel):
    """A still, and the driver's frame: JPEG, in base64."""

    picture: str
    driver: str
    milliseconds: float = Field(description="How long it took here.")


class ControlInfo(BaseModel):
    """Something that can be moved, as it was measured."""

    name: str
    group: str
    low: float
    high: float
    unit: str = Field(description='"degrees", or "" where 1 is a full expression.')
    correlation: float = Field(description="Of what is asked and what is seen.")
    leak: float = Field(description="How much the other measure that moves most does so, against its own.")
    leaks_to: str
    identity: float = Field(description="How much the identity error rises at the worse end.")


class Controls(BaseModel):
    """What an avatar can be asked for."""

    family: str = Field(description="warping: parts of the face can follow by themselves; constant: they cannot.")
    controls: list[ControlInfo]


class RenderWish(Motion):
    """A video with other motion."""

    identity: str = Field(pattern=NAME)
    driver: str = Field(pattern=NAME)


class Verification(BaseModel):
    """What could be told of a file."""

    verdict: str = Field(description="intact, lost, foreign, tampered or unreadable.")
    title: str
    rows: list[tuple[str, str]] = Field(description="What was found: a name and a text each.")
    details: dict[str, Any]


@router.get("/avatars")
def avatars(desk: TheDesk) -> list[AvatarView]:
    """The avatars, their iterations on the same frames of a driver, and which was chosen."""
    from reenact.studio.avatars import avatar_view

    config = desk.config()
    return [avatar_view(desk.result(), config, name) for name in config.identities]


@router.put("/avatars/{name}/choice", status_code=202)
def choose(name: Name, wish: ChoiceWish, desk: TheDesk) -> BuildState:
    """Take another iteration. Nothing is trained: the model is taken from the sweep, and its videos are made anew."""
    from reenact.studio.avatars import iterations

    _person(desk, name)
    known = iterations(desk.result(), name)
    if wish.iteration is not None and wish.iteration not in known:
        raise UserError(f"iteration: {wish.iteration} is not of the sweep; there are {', '.join(map(str, known))}")
    desk.project().set(f"identities.{name}.choose", "auto" if wish.iteration is None else wish.iteration)
    return begin(desk, [])


@router.get("/avatars/{name}/model", response_class=FileResponse)
def model(name: Name, desk: TheDesk) -> FileResponse:
    """The avatar's model file."""
    return FileResponse(_model(desk, name), filename=f"{name}.safetensors", media_type="application/octet-stream")


@router.get("/avatars/{name}/controls")
def controls(name: Name, desk: TheDesk) -> Controls:
    """What of an avatar can be moved by name, with its range."""
    avatar = desk.stills.avatar(_model(desk, name))
    found = [ControlInfo(**control.to_json()) for control in avatar.controls().values()]
    return Controls(family=avatar.family, controls=found)


@router.get("/renders")
def renders(desk: TheDesk) -> list[Rendered]:
    """The videos that are there."""
    config = desk.config()
    return [made for pair in config.rendered_pairs() for made in rendered(desk, *pair)]


@router.get("/renders/{identity}/{driver}/{output}", response_class=FileResponse)
def render_file(
    identity: Name,
    driver: Name,
    output: Annotated[str, Path(pattern=r"^[a-z_]{1,20}$")],
    desk: TheDesk,
    download: Annotated[bool, Query(description="As a download.")] = False,
) -> FileResponse:
    """One video."""
    desk.clip(identity)
    desk.clip(driver)
    for made in rendered(desk, identity, driver):
        if made.output == output:
            path = desk.folder / made.file
            name = f"{identity}.{path.name}" if download else None
            return FileResponse(path, media_type=TYPES.get(path.suffix, "application/octet-stream"), filename=name)
    raise Unknown(f"{identity} driven by {driver}: there is no {output}; build it first")


@router.post("/renders", status_code=202)
def render(wish: RenderWish, desk: TheDesk) -> BuildState:
    """Make the videos with these motion settings, which become the project's."""
    config = desk.config()
    if (wish.identity, wish.driver) not in config.rendered_pairs():
        raise Unknown(f"{wish.identity} driven by {wish.driver}: is not among the pairs of this project")
    wanted, was = (pose.model_dump(mode="json") for pose in (motion(desk, wish.pose), config.render.pose))
    for key in [key for key, value in wanted.items() if value != was[key]]:
        desk.project().set(f"render.pose.{key}", wanted[key])
    stem = f"results/renders/{wish.identity}/{wish.driver}"
    return begin(desk, list(config.render.targets(stem).values()))


@router.post("/edits")
def edit(wish: EditWish, desk: TheDesk) -> Edit:
    """A still of an avatar at one frame of a driver, with these motion settings."""
    began = perf_counter()
    crops = desk.result("clips", wish.driver, "crops.zip")
    desk.clip(wish.driver)
    model = _model(desk, wish.identity)
    if not crops.is_file():
        raise Unknown(f"{wish.driver}: is not cropped yet; build it first")
    pose, mark = motion(desk, wish.pose), desk.config().mark
    picture, driver = desk.stills.edit(model, crops, wish.place, pose, mark)
    texts = [base64.b64encode(data).decode() for data in (picture, driver)]
    return Edit(picture=texts[0], driver=texts[1], milliseconds=round(1000 * (perf_counter() - began), 1))


@router.post(
    "/live/{identity}",
    response_class=Response,
    responses={200: {"content": {"image/jpeg": {}}}, 204: {"description": "No face has been seen yet."}},
    openapi_extra={"requestBody": {"content": {"image/jpeg": {}}, "required": True}},
)
async def live(
    request: Request,
    identity: Name,
    desk: TheDesk,
    session: Annotated[str, Query(pattern=r"^[0-9a-f]{8,32}$", description="Which webcam this is.")],
    pose: Annotated[str, Query(max_length=4000, description="Settings of render.pose, as JSON.")] = "{}",
) -> Response:
    """The avatar doing what one picture of a webcam shows. Send the next picture when this one is answered."""
    image = await request.body()
    try:
        given = {key: value for key, value in json.loads(pose).items() if key in PoseEditSettings.model_fields}
    except (ValueError, AttributeError):
        raise UserError("pose: must be an object of JSON, such as {}") from None

    def show() -> Response:
        """One picture, made in a thread of its own."""
        began = perf_counter()
        model, mark = _model(desk, identity), desk.config().mark
        picture = desk.stills.live(model, session, image, read(PoseEditSettings, given, "the motion"), mark)
        took = {"Server-Timing": f"avatar;dur={1000 * (perf_counter() - began):.1f}"}
        return Response(picture, 200, took, "image/jpeg") if picture else Response(status_code=204, headers=took)

    return await run_in_threadpool(show)


@router.post("/verify", openapi_extra={"requestBody": {"content": {"application/octet-stream": {}}, "required": True}})
async def verify_file(request: Request, desk: TheDesk) -> Verification:
    """What can be told of a file, which is the body: whether it was made here, with what, and changed since."""
    head, rest = await beginning(request.stream())
    suffix = suffix_of(head)
    if suffix is None:
        raise WrongType("This is no picture, video or model that is known by its content.")
    with tempfile.TemporaryDirectory(prefix="reenact-verify-") as folder:
        path = File(folder) / f"file{suffix}"
        with path.open("wb") as file:
            file.write(head)
            async for chunk in rest:
                file.write(chunk)
        return await run_in_threadpool(_verified, path, desk)


def rendered(desk: Desk, identity: str, driver: str) -> list[Rendered]:
    """The files of one pair."""
    stem = f"results/renders/{identity}/{driver}"
    found = []
    for output, file in desk.config().render.targets(stem).items():
        path = desk.folder / file
        if path.is_file():
            url = f"/api/renders/{identity}/{driver}/{output}"
            size, changed = path.stat().st_size, path.stat().st_mtime_ns
            found.append(
                Rendered(
                    identity=identity, driver=driver, output=output, file=file, bytes=size, changed=changed, url=url
                )
            )
    return found


def motion(desk: Desk, given: dict[str, Any]) -> PoseFilterSettings:
    """The settings of `render.pose`, with what a request says of them.

    Raises:
        UserError: a setting or value is not allowed.
    """
    configured = desk.config().render.pose.model_dump(exclude_unset=True)
    return read(PoseFilterSettings, configured | given, "the motion")


def _verified(path: File, desk: Desk) -> Verification:
    """What can be told of a file; of one that lost its credentials also which video of this project it was."""
    from reenact.provenance.stamp import watermark_key
    from reenact.provenance.verify import WORDS, in_words, verify, with_originals
    from reenact.provenance.watermark import Watermark

    if path.suffix != ".safetensors":
        check_pixels(path)
    keys = {watermark_key(MarkSettings())}
    if (desk.folder / "config.yaml").is_file():
        keys.add(watermark_key(desk.config().mark))
    verdict = verify(path, [Watermark(key) for key in sorted(keys)])
    made = desk.result("renders")
    if verdict.verdict == "lost" and made.is_dir():
        found = with_originals(verdict, made).originals
        verdict = replace(verdict, originals=tuple(str(File(file).relative_to(desk.folder)) for file in found))
    names = [name.replace("_", " ") for name in verdict.facts]
    rows = [_row(line.strip(), names) for line in list(in_words(verdict))[1:]]
    details = {key: value for key, value in verdict.as_json().items() if key != "path"}
    return Verification(verdict=verdict.verdict, title=WORDS[verdict.verdict], rows=rows, details=details)


def _row(line: str, names: list[str]) -> tuple[str, str]:
    """A line for people as a name (12 characters wide, unless it is longer) and a text."""
    name = next((name for name in sorted(names, key=len, reverse=True) if line.startswith(name)), line[:12])
    return name.strip(), line[len(name) :].strip()


def _person(desk: Desk, name: str) -> None:
    if name not in desk.config().identities:
        raise Unknown(f"{name}: is no person of this project")


def _model(desk: Desk, name: str) -> File:
    _person(desk, name)
    path = desk.result("avatars", name, "model.safetensors")
    if not path.is_file():
        raise Unknown(f"{name}: has no avatar yet; build it first")
    return path
