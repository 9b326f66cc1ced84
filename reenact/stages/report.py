"""Stage report: one self-contained HTML page with everything that was made, to judge it by."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined

import reenact
from reenact.evaluation.tradeoff import pose_name
from reenact.reporting.clips import ClipView, view_clip
from reenact.reporting.credentials import consent_note, credentials_note
from reenact.reporting.pictures import ThemedPicture, data_uri, draw_themed, png, poster
from reenact.reporting.plots import draw_curves, draw_sweep
from reenact.reporting.results import Results
from reenact.reporting.scores import METRICS, ScoreTable, networks, score_tables
from reenact.runtime.errors import UserError
from reenact.runtime.files import write_text
from reenact.settings.report import ReportSettings

TEMPLATE = "report.html.jinja"


@dataclass(frozen=True)
class VideoView:
    """What the page shows of one video: its driver, file name, the video and its first picture as data: URIs, and what
    its credentials say."""

    driver: str
    file: str
    uri: str
    poster: str
    credentials: str


@dataclass(frozen=True)
class IdentityView:
    """What the page shows of one avatar; parts that were not made are None or empty."""

    name: str
    clip: ClipView | None
    consent: str | None  # why the face may be used
    videos: list[VideoView]
    files: list[str]  # other renders
    selected: dict[str, Any] | None
    pose_name: str  # of the pose error that was weighed
    sweep: ThemedPicture | None
    scores: list[ScoreTable]
    curves: ThemedPicture | None
    preview: str | None


def build_report(*, results: Path, manifest: Path, page: Path, settings: ReportSettings) -> None:
    """Write the page. It needs no other file and no network; what is missing among its inputs is left out of it.

    Args:
        results: the results folder.
        manifest: JSON file of `config`, the settings of the run, and `inputs`, files under the results folder (or
            folders of files, as a sweep) that the page shows: clips/<clip>/{source.json,crops.zip,mattes.zip},
            meta/<name>/{curves.csv,preview.png}, avatars/<identity>/{sweep,scores.csv,sweep.csv,selected.json},
            renders/<identity>/<driver>.mp4 and its kin (`RenderSettings.targets`).
        page: HTML to write.
        settings: of the stage.

    Raises:
        UserError: the manifest cannot be read.
    """
    described = _read_manifest(manifest)
    found = Results(results, [Path(file) for file in described["inputs"]])
    identities = list(dict.fromkeys([*found.names("avatars"), *found.names("renders")]))
    people = described["config"].get("identities") or {}
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    text = environment.get_template(TEMPLATE).render(
        title=settings.title,
        version=reenact.__version__,
        identities=[_identity(found, name, settings, people.get(name)) for name in identities],
        drivers=[
            view_clip(found, name, settings.sheet_frames) for name in found.names("clips") if name not in identities
        ],
        metas=[
            (name, _curves(found.get(f"meta/{name}/curves.csv")), png(found.get(f"meta/{name}/preview.png")))
            for name in found.names("meta")
        ],
        metrics=METRICS,
        networks=networks(found, identities),
        settings=_settings(described["config"]),
    )
    write_text(page, text)


def _read_manifest(manifest: Path) -> dict[str, Any]:
    try:
        described = json.loads(manifest.read_text(encoding="utf-8"))
        return {"config": dict(described["config"]), "inputs": list(described["inputs"])}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{manifest}: no manifest of a report ({error!r}); a run of the workflow writes it as it starts"
        ) from None


def _identity(found: Results, name: str, settings: ReportSettings, said: dict[str, Any] | None) -> IdentityView:
    folder = f"avatars/{name}"
    selected, table = found.get(f"{folder}/selected.json"), found.get(f"{folder}/sweep.csv")
    choice = json.loads(selected.read_text(encoding="utf-8")) if selected else None
    sweep = pd.read_csv(table) if table else None
    scores = found.get(f"{folder}/scores.csv")
    return IdentityView(
        name=name,
        clip=view_clip(found, name, settings.sheet_frames),
        consent=None if said is None else consent_note(said.get("consent"), said.get("consent_note", "")),
        videos=[
            VideoView(
                driver,
                path.name,
                data_uri(path.read_bytes(), f"video/{path.suffix[1:]}"),
                poster(path),
                credentials_note(path),
            )
            for driver, path in found.renders(name)[0]
        ],
        files=found.renders(name)[1],
        selected=choice,
        pose_name=pose_name(sweep) if table else "",
        sweep=draw_themed(draw_sweep, sweep) if table else None,
        scores=score_tables(pd.read_csv(scores, dtype={"model": str}), choice and choice["iteration"])
        if scores
        else [],
        curves=_curves(found.get(f"{folder}/sweep/curves.csv")),
        preview=png(found.get(f"{folder}/sweep/preview.png")),
    )


def _curves(path: Path | None) -> ThemedPicture | None:
    """The training curves of a stage; None where it did not train (an imported model)."""
    if not path:
        return None
    table = pd.read_csv(path)
    return draw_themed(draw_curves, table) if len(table) > 1 else None


def _settings(values: dict[str, Any]) -> list[tuple[str, list[tuple[str, str]]]]:
    """Settings as (section, [(key, value)]), nested keys joined by dots; single values come first, as one section."""
    single = [(key, _text(value)) for key, value in values.items() if not isinstance(value, dict)]
    nested = [(key, _flat(value)) for key, value in values.items() if isinstance(value, dict)]
    return ([("general", single)] if single else []) + nested


def _flat(values: dict[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    rows = []
    for key, value in values.items():
        rows += (
            _flat(value, f"{prefix}{key}.") if isinstance(value, dict) and value else [(f"{prefix}{key}", _text(value))]
        )
    return rows


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
