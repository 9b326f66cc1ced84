"""The pages, as HTML of the server; what they change goes through the API."""

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from jinja2 import Environment, FileSystemLoader, StrictUndefined

import reenact
from reenact.project.build import BuildState
from reenact.runtime.errors import UserError
from reenact.settings.workflow import ClipSettings
from reenact.studio.api_avatars import controls, rendered
from reenact.studio.api_build import logs_of
from reenact.studio.desk import Desk, Unknown
from reenact.studio.guard import REPORT_POLICY
from reenact.studio.words import NAME, Name, TheDesk

router = APIRouter(include_in_schema=False)
MENU = (
    ("people", "People"),
    ("build", "Build"),
    ("avatars", "Avatars"),
    ("drive", "Drive"),
    ("verify", "Verify"),
    ("report", "Report"),
)
STAGES = {
    "fetch": "Fetch files",
    "decode": "Read media",
    "crop": "Find and crop faces",
    "segment": "Cut people out",
    "dataset": "List clips",
    "shard": "Prepare many clips",
    "import_published": "Import a model",
    "pretrain": "Train the pose encoder",
    "meta": "Train the meta-model",
    "finetune": "Make avatars",
    "drive": "Try each iteration",
    "score": "Measure",
    "select": "Choose",
    "render": "Render videos",
    "mark": "Sign videos",
    "mark_model": "Sign avatars",
    "report": "Write the report",
}
"""Rule of the workflow -> what it does, in words."""
OUTPUTS = {
    "avatar": "The avatar",
    "side_by_side": "Side by side",
    "alpha": "Transparent",
    "frames": "Frames",
    "on_background": "On a background",
    "pasted": "Pasted into the driver",
}
CONTROLS = {
    "mouth_open": "Mouth open",
    "smile": "Smile",
    "jaw": "Jaw to the side",
    "blink_left": "Left eye shut",
    "blink_right": "Right eye shut",
    "brows": "Brows up",
    "gaze_x": "Look sideways",
    "gaze_y": "Look up",
    "yaw": "Turn",
    "pitch": "Nod",
    "roll": "Tilt",
}
"""Control -> what it is called."""
EMPTY = "data:image/gif;base64,R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7"
"""A picture of nothing, until there is one."""
PLAYED = ("side_by_side", "on_background", "pasted", "avatar")
NameQuery = Annotated[str | None, Query(pattern=NAME)]


def time_left(seconds: float | None) -> str:
    """A time in words: "about 3 min left"."""
    if seconds is None:
        return ""
    if seconds < 90:
        return f"{max(1, round(seconds))} s left"
    return f"{round(seconds / 60)} min left" if seconds < 5400 else f"{seconds / 3600:.1f} h left"


def size_text(count: int) -> str:
    """Bytes in words."""
    return f"{count / 1e6:.1f} MB" if count >= 100_000 else f"{count / 1e3:.0f} kB"


def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"time_left": time_left, "size": size_text}
    environment.globals |= {
        "MENU": MENU,
        "STAGES": STAGES,
        "OUTPUTS": OUTPUTS,
        "EMPTY": EMPTY,
        "version": reenact.__version__,
    }
    return environment


_TEMPLATES = _environment()


def show(template: str, desk: Desk, here: str, status: int = 200, **values: Any) -> HTMLResponse:
    """A page or a part of one."""
    text = _TEMPLATES.get_template(f"{template}.html.jinja").render(folder=desk.folder, here=here, **values)
    return HTMLResponse(text, status)


def problem_page(request: Request, status: int, sentence: str) -> HTMLResponse:
    """A refusal as a page."""
    return show("problem", request.app.state.desk, "", status, sentence=sentence)


# ---- people --------------------------------------------------------------------------------------------------


@router.get("/")
def first(desk: TheDesk) -> Response:
    """Where somebody begins."""
    if not (desk.folder / "config.yaml").is_file():
        return show("start", desk, "start")
    return RedirectResponse("/people")


@router.get("/people")
def people(desk: TheDesk) -> HTMLResponse:
    """Everybody in the project."""
    return show("people", desk, "people")


@router.get("/parts/people")
def people_list(desk: TheDesk) -> HTMLResponse:
    """The part of the page that changes."""
    config = desk.config()
    return show(
        "people_list",
        desk,
        "people",
        identities=_cards(desk, config.identities.items()),
        drivers=_cards(desk, config.drivers.items()),
        removed=desk.removed(),
    )


@router.get("/add")
def new_clip(desk: TheDesk, driver: bool = False) -> HTMLResponse:
    """The form for a new person or driver."""
    desk.project()
    return show("new", desk, "people", driver=driver)


@router.get("/people/{name}")
def person(name: Name, desk: TheDesk) -> HTMLResponse:
    """One person or driver."""
    from reenact.reporting.credentials import consent_note

    clip, config = desk.clip(name), desk.config()
    said = consent_note(getattr(clip, "consent", None), getattr(clip, "consent_note", ""))
    return show("person", desk, "people", name=name, clip=clip, driver=name in config.drivers, consent=said)


@router.get("/parts/faces/{name}")
def person_faces(name: Name, desk: TheDesk) -> HTMLResponse:
    """Who is seen, and who is meant."""
    from reenact.studio.footage import look  # it loads the networks that find faces

    clip = desk.clip(name)
    try:
        looked, problem = look(desk.media(name), desk.config().crop), ""
    except UserError as error:
        looked, problem = [], str(error)
    meant = clip.face or desk.config().crop.face
    return show("faces", desk, "people", name=name, looked=looked, meant=meant, problem=problem)


@router.get("/parts/footage/{name}")
def person_footage(name: Name, desk: TheDesk) -> HTMLResponse:
    """Crops and mattes, and what was lost."""
    from reenact.studio.footage import footage, lost

    desk.clip(name)
    view = footage(desk.result(), name)
    return show("footage", desk, "people", name=name, view=view, lost=lost(desk.result(), name))


def _cards(desk: Desk, clips: Iterable[tuple[str, ClipSettings]]) -> list[dict[str, Any]]:
    from reenact.studio.footage import face_of

    return [
        {
            "name": name,
            "clip": clip,
            "face": face_of(desk.result(), name, desk.folder / clip.media),
            "cropped": desk.result("clips", name, "crops.zip").is_file(),
            "built": desk.result("avatars", name, "model.safetensors").is_file(),
        }
        for name, clip in clips
    ]


# ---- the build -----------------------------------------------------------------------------------------------


@router.get("/build")
def build(desk: TheDesk) -> HTMLResponse:
    """The button, and how far it is."""
    desk.project()
    return show("build", desk, "build")


@router.get("/parts/build")
def build_state(desk: TheDesk) -> HTMLResponse:
    """The part of the page that changes."""
    config = desk.config()
    state = _state(desk)
    return show(
        "build_state",
        desk,
        "build",
        state=state,
        logs=logs_of(state) if state else [],
        people=len(config.identities),
        drivers=len(config.drivers),
        videos=len(config.rendered_pairs()),
    )


@router.get("/parts/pill")
def build_pill(desk: TheDesk) -> HTMLResponse:
    """The build in one line, on every page."""
    return show("pill", desk, "", state=_state(desk))


def _state(desk: Desk) -> BuildState | None:
    try:
        current = desk.build()
    except Unknown:
        return None
    return current.state() if current else None


# ---- what was made -------------------------------------------------------------------------------------------


@router.get("/avatars")
def avatars(desk: TheDesk) -> HTMLResponse:
    """The avatars and their iterations."""
    desk.project()
    return show("avatars", desk, "avatars")


@router.get("/parts/avatars")
def avatars_list(desk: TheDesk) -> HTMLResponse:
    """The part of the page that changes."""
    from reenact.studio.avatars import avatar_view

    config = desk.config()
    views = [avatar_view(desk.result(), config, name) for name in config.identities]
    return show("avatars_list", desk, "avatars", avatars=views)


@router.get("/drive")
def drive(desk: TheDesk, identity: NameQuery = None, driver: NameQuery = None) -> HTMLResponse:
    """A pair: its videos, and its motion."""
    config = desk.config()
    pairs = config.rendered_pairs()
    pair = next((p for p in pairs if identity in (None, p[0]) and driver in (None, p[1])), pairs[0] if pairs else None)
    return show(
        "drive",
        desk,
        "drive",
        pair=pair,
        identities=list(dict.fromkeys(one for one, _ in pairs)),
        drivers=[other for one, other in pairs if pair and one == pair[0]],
    )


@router.get("/parts/videos")
def drive_videos(
    desk: TheDesk, identity: Annotated[str, Query(pattern=NAME)], driver: Annotated[str, Query(pattern=NAME)]
) -> HTMLResponse:
    """The part of the page that changes."""
    made = rendered(desk, identity, driver)
    shown = next((one for output in PLAYED for one in made if one.output == output), None)
    built = desk.result("avatars", identity, "model.safetensors").is_file()
    return show("videos", desk, "drive", made=made, shown=shown, identity=identity, driver=driver, built=built)


@router.get("/parts/motion/{name}")
def drive_motion(name: Name, desk: TheDesk) -> HTMLResponse:
    """What can be done to the motion of an avatar."""
    if not desk.result("avatars", name, "model.safetensors").is_file():
        return show("motion", desk, "drive", name=name, offered=None)
    offered, pose = controls(name, desk), desk.config().render.pose
    return show("motion", desk, "drive", name=name, offered=offered, pose=pose, words=CONTROLS)


@router.get("/verify")
def verify_page(desk: TheDesk) -> HTMLResponse:
    """Where any file is looked at."""
    return show("verify", desk, "verify")


@router.get("/report")
def report(desk: TheDesk) -> HTMLResponse:
    """The report, within the frame of the pages."""
    desk.project()
    return show("report", desk, "report", there=_report(desk) is not None)


@router.get("/report/page.html")
def report_page(desk: TheDesk) -> HTMLResponse:
    """The report itself: one file, in which nothing runs."""
    path = _report(desk)
    if path is None:
        raise Unknown("There is no report yet; a build writes it.")
    return HTMLResponse(path.read_text(encoding="utf-8"), headers={"Content-Security-Policy": REPORT_POLICY})


def _report(desk: Desk) -> Path | None:
    files = [desk.result("report", name) for name in ("index.html", "partial.html")]
    there = [file for file in files if file.is_file()]
    return max(there, key=lambda file: file.stat().st_mtime, default=None)


@router.get("/api")
def api_page(request: Request, desk: TheDesk) -> HTMLResponse:
    """The API in words, made of its description."""
    schema = request.app.openapi()
    return show("api", desk, "api", schema=schema)
