"""The whole configuration: every section, the clips, and what must hold between them."""

import csv
from collections.abc import Iterator, Sequence
from copy import deepcopy
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError

from reenact.runtime.errors import UserError
from reenact.settings.base import Section
from reenact.settings.crop import CropSettings, FaceChoice
from reenact.settings.dataset import DatasetSettings
from reenact.settings.decode import DecodeSettings, read_time
from reenact.settings.drive import DriveSettings
from reenact.settings.fetch import FetchSettings
from reenact.settings.finetune import FinetuneSettings
from reenact.settings.meta import BUNDLED_MODEL, MetaSettings
from reenact.settings.model import ModelSettings
from reenact.settings.reading import explain, report
from reenact.settings.render import RenderSettings
from reenact.settings.report import ReportSettings
from reenact.settings.score import ScoreSettings
from reenact.settings.segment import SegmentSettings
from reenact.settings.select import SelectSettings
from reenact.settings.shard import ShardSettings

FETCHED = Path("resources")


class ClipSettings(Section):
    """Where the frames of a clip come from."""

    media: str = Field(
        min_length=1,
        description="A video, an image, a folder of images, or a folder of crops (images-cropped/<identity>, masks beside it).",
    )
    start: float | str | None = Field(
        default=None,
        description='Begin here: seconds from the first frame, "1:30", or "60%" of the duration; null = the beginning.',
    )
    end: float | str | None = Field(default=None, description="End here, likewise; null = the end.")
    face: FaceChoice | None = Field(
        default=None, description="Who is followed where several people are seen, as crop.face; null = crop.face."
    )


class IdentitySettings(ClipSettings):
    """A person who becomes an avatar."""

    holdout: float = Field(
        default=0.2,
        ge=0,
        le=0.8,
        description="Share of a video's end that training never sees; the iteration is chosen on it.",
    )


class DriverSettings(ClipSettings):
    """A video that avatars follow."""


class Config(Section):
    """Everything that `config.yaml` may say."""

    identities: dict[str, IdentitySettings] = Field(
        description="People who become avatars: name -> media, start, end, holdout."
    )
    drivers: dict[str, DriverSettings] = Field(description="Videos that avatars follow: name -> media, start, end.")
    pairs: Literal["all"] | list[tuple[str, str]] = Field(
        default="all", description="Videos to render: all, or a list of [identity, driver]."
    )
    device: str = Field(
        default="auto", pattern=r"^(auto|cpu|mps|cuda(:\d+)?)$", description="auto, cpu, cuda, cuda:N or mps."
    )
    fetch: FetchSettings = Field(default=FetchSettings())
    decode: DecodeSettings = Field(default=DecodeSettings())
    crop: CropSettings = Field(default=CropSettings())
    segment: SegmentSettings = Field(default=SegmentSettings())
    dataset: DatasetSettings = Field(default=DatasetSettings())
    shard: ShardSettings = Field(default=ShardSettings())
    model: ModelSettings = Field(default=ModelSettings())
    meta: MetaSettings = Field(default=MetaSettings())
    finetune: FinetuneSettings = Field(default=FinetuneSettings())
    drive: DriveSettings = Field(default=DriveSettings())
    score: ScoreSettings = Field(default=ScoreSettings())
    select: SelectSettings = Field(default=SelectSettings())
    render: RenderSettings = Field(default=RenderSettings())
    report: ReportSettings = Field(default=ReportSettings())

    def clip(self, name: str) -> ClipSettings:
        """Identity or driver by name."""
        return self.identities.get(name) or self.drivers[name]

    def meta_clips(self) -> list[str]:
        """Names of the clips to meta-learn from; with a set, none."""
        return [] if self.meta.set else self.meta.clips or list(self.identities)

    def meta_model(self, trained: str, imported: str) -> str:
        """The meta-model's file: `trained` by stage meta, `imported` by stage import_published, or a finished one."""
        if self.meta.source == "train":
            return trained
        if self.meta.source == "bundled":
            return str(BUNDLED_MODEL)
        return imported if self.imported_checkpoint() else self.meta.source

    def imported_checkpoint(self) -> str | None:
        """The checkpoint of the published code that `meta.source` names, if it names one."""
        return self.meta.source if Path(self.meta.source).suffix in (".pth", ".pt", ".ckpt") else None

    def rendered_pairs(self) -> list[tuple[str, str]]:
        """Identity and driver of every video."""
        if self.pairs == "all":
            return [(identity, driver) for identity in self.identities for driver in self.drivers]
        return [tuple(pair) for pair in self.pairs]

    def cross_driver(self, identity: str) -> str:
        """The driver for the cross-driving scores of an identity: another video, one that it is rendered with where there is one."""
        rendered = [driver for name, driver in self.rendered_pairs() if name == identity]
        others = [n for n in [*rendered, *self.drivers] if self.drivers[n].media != self.identities[identity].media]
        return self.drive.driver or (others or list(self.drivers))[0]


def load_config(values: dict[str, Any], source: str = "the configuration", repeated: Sequence[str] = ()) -> Config:
    """Validate a configuration as read from YAML, and what its parts say about each other and about files.

    Args:
        values: the mapping.
        source: what to name in the message.
        repeated: problems that only the text of the files shows (`repeated_keys`).

    Raises:
        UserError: one message with every problem: the key, the value, what is allowed, and the likely typo.
    """
    problems = list(repeated)
    config, rest = None, values
    while config is None:
        try:
            config = Config.model_validate(rest)
        except ValidationError as error:
            problems += explain(Config, error)
            # What is wrong is left out, so that one message can also say what the rest gets wrong.
            places = [d["loc"][:-1] if d["type"] == "missing" else d["loc"] for d in error.errors()]
            if () in places:
                break
            rest = _without(rest, places)
    if config:
        problems += _problems(config)
    if problems:
        raise UserError(report(source, problems))
    return config


def _without(values: dict[str, Any], places: list[tuple[Any, ...]]) -> dict[str, Any]:
    """A copy of nested settings without the innermost key that each place leads to."""
    rest = deepcopy(values)
    for place in places:
        inner, above, key = rest, None, None
        for part in place:
            if isinstance(inner, dict) and part in inner:
                inner, above, key = inner[part], inner, part
        if above is not None:
            above.pop(key, None)
    return rest


def _problems(config: Config) -> Iterator[str]:
    names = {*config.identities, *config.drivers}
    for section, known in (("identities", config.identities), ("drivers", config.drivers)):
        if not known:
            yield f"{section}: is empty; name at least one, e.g. {section}: {{anna: {{media: anna.mp4}}}}"
    for name in sorted(config.identities.keys() & config.drivers.keys()):
        yield f"drivers.{name}: an identity has this name too; clips need names of their own"
    for section, clips in (("identities", config.identities), ("drivers", config.drivers)):
        for name, clip in clips.items():
            yield from _clip_problems(f"{section}.{name}", name, clip, config.fetch)
    for pair in [] if config.pairs == "all" else config.pairs:
        yield from _unknown(f"pairs {list(pair)}", pair[0], config.identities, "identity")
        yield from _unknown(f"pairs {list(pair)}", pair[1], config.drivers, "driver")
    for key in ("clips", "validate_clips"):
        for name in getattr(config.meta, key):
            yield from _unknown(f"meta.{key}", name, names, "identity or driver")
    if config.meta.source == "train" and (both := sorted(set(config.meta_clips()) & set(config.meta.validate_clips))):
        yield f"meta.validate_clips: {', '.join(both)} also trains; name people whom meta.clips leaves out"
    yield from _set_problems(config)
    if config.drive.driver:
        yield from _unknown("drive.driver", config.drive.driver, config.drivers, "driver")
    if config.meta.source not in ("train", "bundled") and not Path(config.meta.source).is_file():
        yield f"meta.source: {config.meta.source!r} is neither 'train', 'bundled' nor an existing model file"
    if config.meta.source == "bundled" and config.model.preset != "mini":
        yield f"meta.source: the bundled model needs model.preset: mini (it is {config.model.preset})"
    if config.imported_checkpoint() and config.model.preset != "published":
        yield (
            f"meta.source: {config.meta.source!r} is a checkpoint of the published code, whose networks need "
            f"model.preset: published (it is {config.model.preset})"
        )
    sweep = config.finetune.sweep
    if sweep is not None and config.finetune.choose not in ("auto", 0, *sweep):
        yield f"finetune.choose: {config.finetune.choose} is not in finetune.sweep; allowed: auto, 0, {', '.join(map(str, sweep))}"
    if not _available(Path(config.score.descriptor_weights), config.fetch):
        yield (
            f"score.descriptor_weights: {config.score.descriptor_weights!r} does not exist; "
            "keep the entry of the shipped config.yaml in fetch.files, which fetches it"
        )
    for section in (config.meta, config.finetune):
        for key, file in section.weight_files().items():
            if not _available(Path(file), config.fetch):
                yield f"{section.section}.{key}: {file!r} does not exist; null takes the embedded network with random weights"
    for key, file in config.render.files().items():
        if not _available(file, config.fetch):
            yield f"render.{key}: {str(file)!r} does not exist (paths are relative to {Path.cwd()})"
    size = config.model.image_size
    if config.crop.size % size:
        yield f"crop.size: {config.crop.size} must be a multiple of the model's {size} px (model.preset: {config.model.preset})"


def _set_problems(config: Config) -> Iterator[str]:
    """What can be said about a meta-learning set without reading it: a table may have 150,000 rows."""
    if config.meta.set is None:
        return
    path = Path(config.meta.set)
    if config.meta.clips:
        yield "meta.clips: must be [] where meta.set is given; a model learns from the one or the other"
    if not path.exists():
        yield f"meta.set: {config.meta.set!r} does not exist (paths are relative to {Path.cwd()})"
    elif not path.is_dir() and path.suffix.lower() not in (".csv", ".parquet", ".pq"):
        yield f"meta.set: {config.meta.set!r} must be a folder, or a table that ends in .csv or .parquet"
    elif path.suffix.lower() == ".csv":
        with path.open(encoding="utf-8", errors="replace", newline="") as file:
            columns = next(csv.reader(file), [])
        missing = [name for name in ("clip", "identity", "path") if name not in columns]
        if missing:
            yield f"meta.set: {config.meta.set!r} lacks the column{'s' * (len(missing) > 1)} {', '.join(missing)}; it has {', '.join(columns)}"
    for key, file in (
        ("train_split", config.dataset.train_split),
        ("validation_split", config.dataset.validation_split),
    ):
        if file and not path.is_dir():
            yield f"dataset.{key}: is for folders; a table says who validates in its column split"
        elif file and not Path(file).is_file():
            yield f"dataset.{key}: {file!r} does not exist (paths are relative to {Path.cwd()})"


def _clip_problems(key: str, name: str, clip: ClipSettings, fetch: FetchSettings) -> Iterator[str]:
    if not name.replace("-", "").replace("_", "").isalnum() or not name.isascii():
        yield f"{key}: a name becomes a file name; use letters, digits, '-' and '_'"
    media = Path(clip.media)
    if not _available(media, fetch):
        yield f"{key}.media: {clip.media!r} does not exist (paths are relative to {Path.cwd()})"
    elif media.is_dir() and not any(media.iterdir()):
        yield f"{key}.media: folder {clip.media!r} is empty; put photos into it"
    ends = {end: read_time(value) for end in ("start", "end") if (value := getattr(clip, end)) is not None}
    for end, known in ends.items():
        if known is None:
            yield f'{key}.{end}: {getattr(clip, end)!r} must be seconds, or a percentage of the duration such as "60%", or such as "1:30"'
    start, end = ends.get("start"), ends.get("end")
    if start and end and start[1] == end[1] and end[0] <= start[0]:
        yield f"{key}.end: {clip.end!r} must be later than its start, {clip.start!r}"


def _available(path: Path, fetch: FetchSettings) -> bool:
    """Whether a file or folder is there, or stage fetch will make it."""
    return path.exists() or (path.is_relative_to(FETCHED) and path.relative_to(FETCHED).as_posix() in fetch.files)


def _unknown(key: str, name: str, known: Any, kind: str) -> Iterator[str]:
    if name not in known:
        close = get_close_matches(name, list(known), n=1)
        hint = f"did you mean {close[0]!r}?" if close else f"known: {', '.join(sorted(known))}"
        yield f"{key}: no {kind} is called {name!r}; {hint}"
