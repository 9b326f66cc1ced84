"""Scoring a whole table of avatars x drivers with one command, as the published evaluation (section 4 of the paper).

One row of the table is one avatar and one driver. Rows are measured one after the other and written at once; a row that
cannot be measured is recorded with its error, and a run that was killed goes on behind the last row. Memory does not
grow with the table: what real frames look like to the metrics is kept only for the last few clips.
"""

import functools
import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from tqdm import tqdm

from reenact.avatar import Avatar
from reenact.data.clip import Clip
from reenact.data.sequence import CHECK, shown_frames
from reenact.evaluation.measure import (
    NETWORKS,
    ROLES,
    DrivingFrames,
    IdentityReference,
    MeasuredFrames,
    Measurer,
    baselines,
    measure_driver,
)
from reenact.evaluation.metrics import METRICS
from reenact.faces.mediapipe_faces import FaceFinder
from reenact.runtime.devices import pick_device
from reenact.runtime.errors import UserError
from reenact.runtime.files import write_text
from reenact.settings.score import ScoreSettings

PATHS = ["model", "identity_crops", "identity_mattes", "driver_crops", "driver_mattes"]
COLUMNS = [*PATHS, "baseline", "protocol", "frames", *METRICS, *NETWORKS, "error", "key"]
STATISTICS = ["mean", "std", "minimum", "median", "maximum", "avatars"]
SUMMARY = ["baseline", "protocol", "metric", *STATISTICS, "errors", *NETWORKS]
FRAMES = 32
"""Frames of each protocol, as published."""

REMEMBERED = 4
"""Clips and avatars whose measured frames are kept at hand; a table sorted by avatar needs no more."""


@dataclass(frozen=True)
class Plan:
    """What is measured of each row.

    Attributes:
        frames: most frames of each protocol.
        batch_size: frames rendered at once.
        baselines: whether to measure the person's mean image and the driver's own frames too.
    """

    frames: int = FRAMES
    batch_size: int = 8
    baselines: bool = False


def score_table(
    *,
    table: Path,
    scores: Path,
    summary: Path,
    device: str = "auto",
    threads: int = 0,
    plan: Plan,
    settings: ScoreSettings,
) -> None:
    """Measure every avatar of a table under self- and cross-driving, on frames on which no iteration is chosen.

    Args:
        table: CSV with the columns model (an avatar), identity_crops, identity_mattes, driver_crops, driver_mattes:
            files, relative to the table's folder. Self-driving, by the identity's held-out frames, is measured once an
            avatar.
        scores: CSV to write, COLUMNS: a row for every row of the table and protocol; `error` says why one could not be
            measured. Rows that it has already are not measured again, unless files or settings changed.
        summary: CSV to write, SUMMARY; see `summarise`.
        device, threads: see `pick_device`.
        plan: see `Plan`.
        settings: of stage score.

    Raises:
        UserError: the table lacks columns or rows, or no row could be measured.
    """
    jobs = _read(table, plan, settings)
    done = _known(scores, {job["key"] for job in jobs})
    rows = [row for job in jobs for row in done.get(job["key"], [])]
    _write(scores, jobs, rows)  # whatever a crash left at the end of the file is gone
    device = str(pick_device(device, threads))
    with FaceFinder(min_confidence=settings.min_confidence) as finder:
        bench = _Bench(Measurer(finder, settings), device, plan, settings.reference_frames)
        bench.self_driven |= {
            job["key_self"] for job in jobs if any(row["protocol"] == "self" for row in done.get(job["key"], []))
        }
        for job in tqdm(
            [job for job in jobs if job["key"] not in done], desc="score_table", mininterval=5, disable=None
        ):
            found = [{name: job[name] for name in PATHS} | row | {"key": job["key"]} for row in bench.measure(job)]
            rows += found
            _append(scores, found)
    _write(scores, jobs, rows)
    result = summarise(pd.DataFrame(rows).reindex(columns=COLUMNS))
    write_text(summary, result.to_csv(index=False, float_format="%.6g"))
    failed = sorted({row["model"] for row in rows if row["error"]})
    print(f"score_table: {len(jobs)} rows, {len(failed)} avatars with errors: {scores}, {summary}", flush=True)
    if all(row["error"] for row in rows):
        raise UserError(f"{table}: no row could be measured; the first error: {rows[0]['error']}")


class _Bench:
    """Measures rows; remembers what was measured of the last few clips."""

    def __init__(self, measurer: Measurer, device: str, plan: Plan, reference_frames: int) -> None:
        self._measurer, self._plan, self._references = measurer, plan, reference_frames
        self._avatar = functools.lru_cache(1)(lambda path: Avatar.load(path, device))
        self._driving = functools.lru_cache(REMEMBERED)(self._measure_driver)
        self._identity = functools.lru_cache(REMEMBERED)(self._prepare)
        self.self_driven: set[str] = set()

    def measure(self, job: dict[str, str]) -> Iterator[dict]:
        """Rows of one job, without paths; one with `error` where it cannot be measured."""
        try:
            rows = list(self._measure(job))
        except (UserError, OSError, KeyError, ValueError) as error:
            # One damaged file among hundreds must not cost the others.
            rows = [
                {
                    "protocol": "",
                    "error": f"{type(error).__name__}: {error}" if not isinstance(error, UserError) else str(error),
                }
            ]
        yield from rows

    def _measure(self, job: dict[str, str]) -> Iterator[dict]:
        avatar = self._avatar(job["path_model"])
        identity = (job["path_identity_crops"], job["path_identity_mattes"])
        pairs = {"self": identity, "cross": (job["path_driver_crops"], job["path_driver_mattes"])}
        reference, mean_image = self._identity(*identity, avatar.image_size)
        rows: list[dict[str, Any]] = []
        for protocol, pair in pairs.items():
            if protocol == "self" and job["key_self"] in self.self_driven:
                continue
            driving = self._driving(*pair, ROLES[protocol], avatar.image_size)
            if driving is None and protocol == "cross":
                raise UserError(f"{job['driver_crops']}: no frame with a face to drive with")
            if driving is None:
                continue  # one photo: there is nothing held out
            reference.driving[protocol] = driving
            output = reference.output(
                avatar.drive(reference.drivers(protocol, Clip(Path(pair[0]))), batch_size=self._plan.batch_size)
            )
            sequences = [("", output), *(baselines(reference, protocol, mean_image) if mean_image is not None else [])]
            for name, sequence in sequences:
                values, _ = reference.compare(sequence, protocol)
                rows.append({"baseline": name, "protocol": protocol, **values, **self._measurer.names(), "error": ""})
        self.self_driven.add(job["key_self"])
        return iter(rows)

    def _prepare(self, crops: str, mattes: str, size: int) -> tuple[IdentityReference, MeasuredFrames | None]:
        reference = IdentityReference(
            (Clip(Path(crops)), Clip(Path(mattes))), size, self._measurer, self._references, {}
        )
        return reference, reference.mean_image() if self._plan.baselines else None

    def _measure_driver(self, crops: str, mattes: str, role: str, size: int) -> DrivingFrames | None:
        pair = Clip(Path(crops)), Clip(Path(mattes))
        # Nothing was chosen on the frames of the check; a clip of a few frames has no such.
        frames = shown_frames(pair[0], role, self._plan.frames, CHECK)
        frames = frames if len(frames) else shown_frames(pair[0], role, self._plan.frames)
        return measure_driver(pair, frames, size, self._measurer) if len(frames) else None


def _read(table: Path, plan: Plan, settings: ScoreSettings) -> list[dict[str, str]]:
    """Rows of the table with `path_...` relative to the working directory, and keys that change with what they mean."""
    try:
        rows = pd.read_csv(table, dtype=str, keep_default_na=False)
    except (OSError, pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise UserError(f"{table}: cannot be read as a CSV table ({error})") from None
    missing = [name for name in PATHS if name not in rows]
    if missing or rows.empty:
        what = f"lacks the column{'s' * (len(missing) > 1)} {', '.join(missing)}" if missing else "has no rows"
        raise UserError(f"{table}: {what}; needed: {', '.join(PATHS)}, a row for every avatar and driver")
    settled = json.dumps([vars(plan), settings.model_dump(mode="json")], sort_keys=True)
    jobs = []
    for row in rows[PATHS].to_dict("records"):
        paths = {f"path_{name}": str(table.parent / value) for name, value in row.items()}
        stamps = {name: _stamp(paths[f"path_{name}"]) for name in PATHS}
        own = {name: stamps[name] for name in PATHS[:3]}
        jobs.append({**row, **paths, "key": _hash([row, stamps, settled]), "key_self": _hash([own, settled])})
    return jobs


def _stamp(path: str) -> list[str | int]:
    """What tells that a file changed, without reading hundreds of them."""
    file = Path(path)
    return [path, *((file.stat().st_size, file.stat().st_mtime_ns) if file.exists() else ())]


def _hash(values: list) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:12]


def _known(scores: Path, keys: set[str]) -> dict[str, list[dict]]:
    """Rows of an earlier run by key; those with errors are tried again, and a line cut short by a crash is left out."""
    if not scores.exists():
        return {}
    found = pd.read_csv(
        scores, dtype={name: str for name in (*PATHS, "baseline", "error", "key", "protocol")}, on_bad_lines="skip"
    )
    if list(found.columns) != COLUMNS:
        return {}
    text = ["baseline", "error", "protocol"]
    found[text] = found[text].fillna("")
    good = found[(found["error"] == "") & found["key"].isin(keys)]
    return {
        key: part.to_dict("records")
        for key, part in good.groupby("key", sort=False)
        if "cross" in set(part["protocol"])
    }


def _append(scores: Path, rows: list[dict]) -> None:
    """Add rows at the end of the file."""
    with scores.open("a", encoding="utf-8") as file:
        file.write(pd.DataFrame(rows).reindex(columns=COLUMNS).to_csv(index=False, header=False, float_format="%.6g"))


def _write(scores: Path, jobs: list[dict], rows: list[dict]) -> None:
    """The whole file anew, in the order of the table."""
    order = {job["key"]: number for number, job in enumerate(jobs)}
    table = pd.DataFrame(sorted(rows, key=lambda row: order[row["key"]])).reindex(columns=COLUMNS)
    write_text(scores, table.to_csv(index=False, float_format="%.6g"))


def summarise(scores: pd.DataFrame) -> pd.DataFrame:
    """Statistics over avatars: every avatar counts once, with its mean over drivers.

    Returns:
        SUMMARY: baseline ('' = the avatars), protocol, metric, mean, std (of avatars, n - 1), minimum, median, maximum,
        avatars (measured), errors (avatars with a row that could not be measured), and the networks.
    """
    failed = scores["error"].fillna("") != ""
    good, errors = scores[~failed], scores.loc[failed, "model"].nunique()
    rows = []
    for (baseline, protocol), part in good.groupby([good["baseline"].fillna(""), "protocol"], sort=False):
        for metric in METRICS:
            values = part.groupby("model")[metric].mean().dropna()
            if len(values):
                statistics = (values.mean(), values.std(), values.min(), values.median(), values.max(), len(values))
                rows.append([baseline, protocol, metric, *statistics, errors, *part[NETWORKS].iloc[0]])
    return pd.DataFrame(rows, columns=SUMMARY)
