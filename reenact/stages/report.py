"""Stage report: one self-contained HTML page with everything that was made, to judge it by."""

import base64
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pandas as pd
import yaml
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from matplotlib.backends.backend_agg import FigureCanvasAgg

import reenact
from reenact.data.clip import Clip
from reenact.data.sequence import spread
from reenact.evaluation.tradeoff import pose_name
from reenact.reporting.plots import draw_curves, draw_sweep
from reenact.runtime.files import write_text
from reenact.settings.report import ReportSettings

TEMPLATE = "report.html.jinja"
THUMBNAIL = 160
"""Side of the contact sheets' pictures, px; shown at half of it, so that they are sharp on fine screens."""

BESIDE = ".side_by_side.mp4"
PLAYED = (BESIDE, ".on_background.mp4", ".pasted.mp4", ".alpha.webm", ".mp4")
"""Endings of renders that browsers play, in the order in which they are shown."""

METRICS = {
    "identity_error": (
        "identity error",
        "{:.3f}",
        "1 − mean cosine between face descriptors of the output and of the person's training frames: lower is more like the person, and not quite 0 for the person either.",
    ),
    "csim": (
        "CSIM",
        "{:.3f}",
        "cosine between the face descriptor of the output and the mean of the person's: higher is more like the person.",
    ),
    "pose_error": (
        "pose error",
        "{:.3f}",
        "mean distance of 68 face landmarks to those of the true frame, in outer-eye distances; only where the truth is known (self-driving). Lower is better.",
    ),
    "aligned_error": (
        "aligned error",
        "{:.3f}",
        "the same after the best turn, scale and shift of each face onto the true one: what is left is expression and face shape. Lower is better.",
    ),
    "motion_error": (
        "motion error",
        "{:.3f}",
        "the same distance after taking each face's own mean shape away, so that it also works across people: a still picture scores the driver's amount of motion. Lower is better.",
    ),
    "blink_correlation": (
        "blink",
        "{:.2f}",
        "correlation of the eyes' opening with the driver's: 1 = in step, 0 = unrelated.",
    ),
    "mouth_correlation": (
        "mouth",
        "{:.2f}",
        "correlation of the mouth's opening with the driver's: 1 = in step, 0 = unrelated.",
    ),
    "sharpness": (
        "sharpness",
        "{:.2f}",
        "fine detail within the matte divided by that of the person's own pictures: 1 = as sharp, below = softer.",
    ),
    "psnr": (
        "PSNR, dB",
        "{:.1f}",
        "pixel difference to the true frame, on black, in the box of the true matte. Higher is better.",
    ),
    "ssim": ("SSIM", "{:.3f}", "structural similarity to the true frame in that box, 1 = equal. Higher is better."),
    "perceptual": (
        "perceptual",
        "{:.3f}",
        "distance to the true frame in that box, in the features of the network named below (only where that says LPIPS are figures comparable with LPIPS). Lower is better.",
    ),
    "matte_iou": (
        "matte IoU",
        "{:.3f}",
        "overlap of the output's matte with the true one, 1 = equal. Higher is better.",
    ),
    "jitter": (
        "jitter",
        "{:.2f}",
        "mean landmark acceleration divided by the driver's: 1 = as calm as the driver, above = trembles, 0 = stands still.",
    ),
    "failed": (
        "no face",
        "{:.0%}",
        "share of the output frames in which no face was found; they are left out of the other face measures.",
    ),
}
"""Column of the score table -> heading, format, what it means."""

BASELINES = {
    "0": "0, not fine-tuned",
    "mean_image": "mean image",
    "driver_frame": "driver's frames",
    "real_frames": "true frames",
}
PROTOCOLS = {
    "self": (
        "Self-driving",
        "Driven by the person's own held-out frames, which training never saw, so the true picture is known. For comparison: "
        "the mean of the training frames as a still picture, and the true frames themselves (the best that can be expected).",
    ),
    "cross": (
        "Cross-driving",
        "Driven by another person, so there is no true picture. For comparison: the mean of the training frames as a still "
        "picture (the person, but no motion), and the driver's own frames (the motion, but another person).",
    ),
}


@dataclass(frozen=True)
class Plot:
    """A picture as data: URIs for a light and for a dark page."""

    light: str
    dark: str


@dataclass(frozen=True)
class ClipView:
    """What the page shows of one clip; `sheet` holds (data: URI, caption) of a crop above its matte."""

    name: str
    facts: str = ""
    sheet: list[tuple[str, str]] = field(default_factory=list)


@dataclass(frozen=True)
class IdentityView:
    """What the page shows of one avatar; parts that were not made are None or empty."""

    name: str
    clip: ClipView | None
    videos: list[tuple[str, str, str, str]]  # driver, file, data: URI, data: URI of its first picture
    files: list[str]  # other renders
    selected: dict[str, Any] | None
    pose_name: str  # of the pose error that was weighed
    sweep: Plot | None
    scores: list[
        tuple[str, str, list[str], list[tuple[str, bool, list[str]]]]
    ]  # title, note, columns, rows (model, chosen, cells)
    curves: Plot | None
    preview: str | None


class Results:
    """The result files that the page may show, by their path under the results folder."""

    def __init__(self, root: Path, inputs: Sequence[Path]) -> None:
        found = [
            file for path in inputs for file in (sorted(path.iterdir()) if path.is_dir() else [path]) if file.exists()
        ]
        self._files = {file.resolve().relative_to(root.resolve()).as_posix(): file for file in found}

    def get(self, name: str) -> Path | None:
        """The file `name`, None where it was not given or does not exist."""
        return self._files.get(name)

    def names(self, folder: str) -> list[str]:
        """What lies directly under `folder`, in the order given."""
        return list(dict.fromkeys(name.split("/")[1] for name in self._files if name.startswith(f"{folder}/")))

    def renders(self, identity: str) -> tuple[list[tuple[str, Path]], list[str]]:
        """What was rendered of an identity: (driver, file) of what browsers play, and the names of the rest.

        The avatar alone is left out where it stands in a video side by side.
        """
        prefix = f"renders/{identity}/"
        files = {name.removeprefix(prefix): path for name, path in self._files.items() if name.startswith(prefix)}
        played, others = [], []
        for driver in dict.fromkeys(name.split(".")[0] for name in files):
            own = [name for name in files if name.split(".")[0] == driver]
            shown = [driver + suffix for suffix in PLAYED if driver + suffix in own]
            played += [
                (driver, files[name])
                for name in (shown[:-1] if len(shown) > 1 and shown[0].endswith(BESIDE) else shown)
            ]
            others += dict.fromkeys(name.split("/")[0] for name in own if name not in shown)
        return played, others


def build_report(
    *, results: Path, inputs: Sequence[Path], config: Path | str, page: Path, settings: ReportSettings
) -> None:
    """Write the page. It needs no other file and no network; what is missing among `inputs` is left out of it.

    Args:
        results: the results folder.
        inputs: files under it (or folders of files, as a sweep) that the page shows: clips/<clip>/{source.json,crops.zip,
            mattes.zip}, meta/<name>/{curves.csv,preview.png}, avatars/<identity>/{sweep,scores.csv,sweep.csv,selected.json},
            renders/<identity>/<driver>.mp4 and its kin (`RenderSettings.targets`).
        config: the settings that made them, as YAML or JSON text or a file of it.
        page: HTML to write.
    """
    found = Results(results, inputs)
    identities = list(dict.fromkeys([*found.names("avatars"), *found.names("renders")]))
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    notes = _score_notes(found, identities)
    text = environment.get_template(TEMPLATE).render(
        title=settings.title,
        version=reenact.__version__,
        identities=[_identity(found, name, settings) for name in identities],
        drivers=[_clip(found, name, settings.sheet_frames) for name in found.names("clips") if name not in identities],
        metas=[
            (name, _curves(found.get(f"meta/{name}/curves.csv")), _picture(found.get(f"meta/{name}/preview.png")))
            for name in found.names("meta")
        ],
        metrics=METRICS,
        descriptors=notes["descriptor"],
        perceptuals=notes["perceptual_network"],
        settings=_settings(config),
    )
    write_text(page, text)


def data_uri(data: bytes, kind: str) -> str:
    """Bytes as a data: URI of a media type."""
    return f"data:{kind};base64,{base64.b64encode(data).decode('ascii')}"


def _identity(found: Results, name: str, settings: ReportSettings) -> IdentityView:
    folder = f"avatars/{name}"
    selected, table = found.get(f"{folder}/selected.json"), found.get(f"{folder}/sweep.csv")
    choice = json.loads(selected.read_text(encoding="utf-8")) if selected else None
    sweep = pd.read_csv(table) if table else None
    scores = found.get(f"{folder}/scores.csv")
    return IdentityView(
        name=name,
        clip=_clip(found, name, settings.sheet_frames),
        videos=[
            (driver, path.name, data_uri(path.read_bytes(), f"video/{path.suffix[1:]}"), _poster(path))
            for driver, path in found.renders(name)[0]
        ],
        files=found.renders(name)[1],
        selected=choice,
        pose_name=pose_name(sweep) if table else "",
        sweep=_plot(draw_sweep, sweep) if table else None,
        scores=_scores(pd.read_csv(scores, dtype={"model": str}), choice) if scores else [],
        curves=_curves(found.get(f"{folder}/sweep/curves.csv")),
        preview=_picture(found.get(f"{folder}/sweep/preview.png")),
    )


def _clip(found: Results, name: str, frames: int) -> ClipView:
    source, crops, mattes = (found.get(f"clips/{name}/{file}") for file in ("source.json", "crops.zip", "mattes.zip"))
    facts = _facts(json.loads(source.read_text(encoding="utf-8"))) if source else ""
    if not crops:
        return ClipView(name, facts)
    clip, matte = Clip(crops), Clip(mattes) if mattes else None
    shown = clip.table[clip.table["image"].astype(str) != ""].reset_index(drop=True)
    facts = " ".join([facts, *_lost(clip.table), *(_matted(matte.table) if matte else [])]).strip()
    known = set(matte.table["image"]) if matte else set()
    sheet = []
    for _, row in shown.iloc[spread(len(shown), frames)].iterrows():
        below = matte.image(row["image"]) if row["image"] in known else None
        held = ", held out" if row["role"] == "holdout" else ""
        caption = f"{row['time']:.2f} s{held}" if row.get("duration", 1) else f"photo {row['index'] + 1}"
        sheet.append((_thumbnail(clip.image(row["image"]), below), caption))
    return ClipView(name, facts, sheet)


def _facts(source: dict[str, Any]) -> str:
    """One line about a clip's media, from source.json."""
    text = f"{Path(source['media']).name}: {source['width']} × {source['height']} px, "
    if source["kind"] != "video":
        noun = "photo" if source["kind"] == "photos" else "crop"
        text += f"{source['frames']} {noun}s." if source["frames"] != 1 else f"one {noun}."
    else:
        text += (
            f"{source['frames']} frames, {source['start']:.2f} to {source['end']:.2f} s, {source['fps']:.5g} frames/s, "
        )
        text += "with sound." if source["audio"] else "without sound."
    # What was done to the pictures; damage is counted there too.
    return " ".join([text, *(f"{step[0].upper()}{step[1:]}." for step in source["steps"])])


def _lost(table: pd.DataFrame) -> list[str]:
    """What stage crop could not see, and why, from its table."""
    found = []
    for status, verb in (("dropped", "left out"), ("interpolated", "bridged"), ("held", "held")):
        reasons = table["reason"][table["status"] == status].value_counts() if "reason" in table else []
        if len(reasons):
            why = ", ".join(f"{count} {reason}" if reason else str(count) for reason, count in reasons.items())
            found.append(f"{reasons.sum()} of {len(table)} frames {verb} ({why}).")
    return found


def _matted(table: pd.DataFrame) -> list[str]:
    """How much of the crops is the person, and where that cannot be right, from the table of stage segment."""
    known = table["coverage"].dropna() if "coverage" in table else []
    if not len(known):
        return []
    text = f"The person covers {known.mean():.0%} of the crops ({known.min():.0%} to {known.max():.0%})."
    doubtful = table[table["warning"].astype(str) != ""] if "warning" in table else table[:0]
    if not len(doubtful):
        return [text]
    first = doubtful.iloc[0]
    return [
        text,
        f"Look at {len(doubtful)} {'matte' if len(doubtful) == 1 else 'mattes'}, the first at {first['time']:.2f} s: {first['warning']}.",
    ]


def _thumbnail(crop: np.ndarray, matte: np.ndarray | None) -> str:
    """A crop above its matte as a JPEG."""
    parts = [crop] if matte is None else [crop, np.repeat(matte[..., None], 3, axis=2)]
    small = [cv2.resize(part, (THUMBNAIL, THUMBNAIL), interpolation=cv2.INTER_AREA) for part in parts]
    return _jpeg(np.concatenate(small))


def _poster(video: Path) -> str:
    """The first picture of a video, shown until it is played."""
    with av.open(str(video)) as container:
        return _jpeg(next(container.decode(video=0)).to_ndarray(format="rgb24"))


def _jpeg(image: np.ndarray) -> str:
    """A uint8 RGB image as a JPEG."""
    _, data = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 82])
    return data_uri(data.tobytes(), "image/jpeg")


def _picture(path: Path | None) -> str | None:
    return data_uri(path.read_bytes(), "image/png") if path else None


def _plot(draw: Any, table: pd.DataFrame) -> Plot:
    """`draw(table, dark)` for both kinds of page."""
    uris = []
    for dark in (False, True):
        figure, buffer = draw(table, dark), io.BytesIO()
        FigureCanvasAgg(figure)
        figure.savefig(buffer, format="png", dpi=140)
        uris.append(data_uri(buffer.getvalue(), "image/png"))
    return Plot(*uris)


def _curves(path: Path | None) -> Plot | None:
    """The training curves of a stage; None where it did not train (an imported model)."""
    if not path:
        return None
    table = pd.read_csv(path)
    return _plot(draw_curves, table) if len(table) > 1 else None


def _scores(
    scores: pd.DataFrame, choice: dict[str, Any] | None
) -> list[tuple[str, str, list[str], list[tuple[str, bool, list[str]]]]]:
    """The score table of each protocol: models of the sweep first, then the baselines."""
    chosen = str(choice["iteration"]) if choice else ""
    tables = []
    for protocol, part in scores.groupby("protocol", sort=False):
        names = [name for name in METRICS if name in part and part[name].notna().any()]
        models = part["model"].str.isdecimal()
        rows = []
        for _, row in pd.concat([part[models], part[~models]]).iterrows():
            cells = [METRICS[name][1].format(row[name]) if pd.notna(row[name]) else "–" for name in names]
            rows.append((BASELINES.get(row["model"], row["model"]), row["model"] == chosen, cells))
        title, note = PROTOCOLS[protocol]
        tables.append((f"{title}, {part['frames'].max()} frames", note, [METRICS[name][0] for name in names], rows))
    return tables


def _score_notes(found: Results, identities: list[str]) -> dict[str, list[str]]:
    """Which descriptor and which perceptual network made the numbers on the page."""
    paths = [found.get(f"avatars/{name}/scores.csv") for name in identities]
    tables = [pd.read_csv(path) for path in paths if path]
    return {
        column: sorted({value for table in tables if column in table for value in table[column].dropna()})
        for column in ("descriptor", "perceptual_network")
    }


def _settings(config: Path | str) -> list[tuple[str, list[tuple[str, str]]]]:
    """Settings as (section, [(key, value)]), nested keys joined by dots; single values come first, as one section."""
    text = config.read_text(encoding="utf-8") if isinstance(config, Path) else config
    values = yaml.safe_load(text) or {}
    single = [(key, _shown(value)) for key, value in values.items() if not isinstance(value, dict)]
    nested = [(key, _flat(value)) for key, value in values.items() if isinstance(value, dict)]
    return ([("general", single)] if single else []) + nested


def _flat(values: dict[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    rows = []
    for key, value in values.items():
        rows += (
            _flat(value, f"{prefix}{key}.")
            if isinstance(value, dict) and value
            else [(f"{prefix}{key}", _shown(value))]
        )
    return rows


def _shown(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
