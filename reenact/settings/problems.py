"""What must hold between the parts of a configuration, and for the files that it names; one function a section."""

import csv
from collections.abc import Collection, Iterator
from difflib import get_close_matches
from pathlib import Path

from reenact.settings.decode import read_time
from reenact.settings.meta import BUNDLED_MODELS
from reenact.settings.workflow import ClipSettings, Config


def problems_of(config: Config, folder: Path = Path(), unfinished: bool = False) -> Iterator[str]:
    """One line for every problem: the key, the value, what is allowed.

    Args:
        config: to look at.
        folder: of the project, which paths are relative to.
        unfinished: nobody to build, or nobody to follow, is no problem yet.
    """
    yield from _names(config, unfinished)
    for section, clips in (("identities", config.identities), ("drivers", config.drivers)):
        for name, clip in clips.items():
            yield from _clip(config, folder, f"{section}.{name}", clip)
    yield from _pairs(config)
    yield from _meta_clips(config)
    yield from _meta_set(config, folder)
    yield from _meta_source(config, folder)
    yield from _iteration(config)
    yield from _warping(config)
    yield from _files(config, folder)
    size = config.model.image_size
    if config.crop.size % size:
        yield (
            f"crop.size: {config.crop.size} must be a multiple of the model's {size} px "
            f"(model.preset: {config.model.preset})"
        )


def _names(config: Config, unfinished: bool) -> Iterator[str]:
    for section, known in (("identities", config.identities), ("drivers", config.drivers)):
        if not known and not unfinished:
            yield f"{section}: is empty; name at least one, e.g. {section}: {{anna: {{media: anna.mp4}}}}"
    for name in sorted(config.identities.keys() & config.drivers.keys()):
        yield f"drivers.{name}: an identity has this name too; clips need names of their own"


def _clip(config: Config, folder: Path, key: str, clip: ClipSettings) -> Iterator[str]:
    name = key.partition(".")[2]
    if not name.replace("-", "").replace("_", "").isalnum() or not name.isascii():
        yield f"{key}: a name becomes a file name; use letters, digits, '-' and '_'"
    media = folder / clip.media
    if not config.available(clip.media, folder):
        yield f"{key}.media: {clip.media!r} {_missing(folder)}"
    elif media.is_dir() and not any(media.iterdir()):
        yield f"{key}.media: folder {clip.media!r} is empty; put photos into it"
    ends = {end: read_time(value) for end in ("start", "end") if (value := getattr(clip, end)) is not None}
    for which, known in ends.items():
        if known is None:
            yield (
                f"{key}.{which}: {getattr(clip, which)!r} must be seconds, or a percentage of the duration such as "
                '"60%", or such as "1:30"'
            )
    start, end = ends.get("start"), ends.get("end")
    if start and end and start[1] == end[1] and end[0] <= start[0]:
        yield f"{key}.end: {clip.end!r} must be later than its start, {clip.start!r}"


def _pairs(config: Config) -> Iterator[str]:
    for pair in [] if config.pairs == "all" else config.pairs:
        yield from _unknown(f"pairs {list(pair)}", pair[0], config.identities, "identity")
        yield from _unknown(f"pairs {list(pair)}", pair[1], config.drivers, "driver")
    if config.drive.driver:
        yield from _unknown("drive.driver", config.drive.driver, config.drivers, "driver")


def _meta_clips(config: Config) -> Iterator[str]:
    names = {*config.identities, *config.drivers}
    for key in ("clips", "validate_clips"):
        for name in getattr(config.meta, key):
            yield from _unknown(f"meta.{key}", name, names, "identity or driver")
    both = sorted(set(config.meta_clips()) & set(config.meta.validate_clips))
    if config.meta.source == "train" and both:
        yield f"meta.validate_clips: {', '.join(both)} also trains; name people whom meta.clips leaves out"


def _meta_set(config: Config, folder: Path) -> Iterator[str]:
    """What can be said about a meta-learning set without reading it: a table may have 150,000 rows."""
    if config.meta.set is None:
        return
    path = folder / config.meta.set
    if config.meta.clips:
        yield "meta.clips: must be [] where meta.set is given; a model learns from the one or the other"
    if not path.exists():
        yield f"meta.set: {config.meta.set!r} {_missing(folder)}"
    elif not path.is_dir() and path.suffix.lower() not in (".csv", ".parquet", ".pq"):
        yield f"meta.set: {config.meta.set!r} must be a folder, or a table that ends in .csv or .parquet"
    elif path.suffix.lower() == ".csv":
        with path.open(encoding="utf-8", errors="replace", newline="") as file:
            columns = next(csv.reader(file), [])
        lacking = [name for name in ("clip", "identity", "path") if name not in columns]
        if lacking:
            yield (
                f"meta.set: {config.meta.set!r} lacks the column{'s' * (len(lacking) > 1)} {', '.join(lacking)}; "
                f"it has {', '.join(columns)}"
            )
    for key in ("train_split", "validation_split"):
        file = getattr(config.dataset, key)
        if file and not path.is_dir():
            yield f"dataset.{key}: is for folders; a table says who validates in its column split"
        elif file and not (folder / file).is_file():
            yield f"dataset.{key}: {file!r} {_missing(folder)}"


def _meta_source(config: Config, folder: Path) -> Iterator[str]:
    source, preset = config.meta.source, config.model.preset
    if source not in ("train", "bundled") and not (folder / source).is_file():
        yield f"meta.source: {source!r} is neither 'train', 'bundled' nor an existing model file"
    if source == "bundled" and preset not in BUNDLED_MODELS:
        yield f"meta.source: bundled models are of model.preset: {' and '.join(BUNDLED_MODELS)} (it is {preset})"
    if config.imported_checkpoint() and preset != "published":
        yield (
            f"meta.source: {source!r} is a checkpoint of the published code, whose networks need "
            f"model.preset: published (it is {preset})"
        )


def _iteration(config: Config) -> Iterator[str]:
    sweep = config.finetune.sweep
    wanted: dict[str, object] = {"finetune.choose": config.finetune.choose}
    wanted |= {f"identities.{name}.choose": person.choose for name, person in config.identities.items()}
    for key, chosen in wanted.items():
        if sweep is not None and chosen not in ("auto", None, 0, *sweep):
            yield f"{key}: {chosen} is not in finetune.sweep; allowed: auto, 0, {', '.join(map(str, sweep))}"


def _warping(config: Config) -> Iterator[str]:
    """What of fine-tuning is one family's alone: size of the pictures, losses, optimizer and learning rate."""
    model, finetune = config.model.preset, config.finetune
    size = finetune.image_size
    if size and model != "warping":
        yield f"finetune.image_size: {size} is for model.preset: warping (it is {model}); leave it out"
    elif size and config.crop.size % size:
        yield f"finetune.image_size: {size} needs crops as large; set crop.size: {size} (it is {config.crop.size})"
    if finetune.sweep and (model == "warping") != (finetune.preset == "warping"):
        allowed = "warping" if model == "warping" else "published or mini"
        yield (
            f"finetune.preset: {finetune.preset!r} is not for model.preset: {model}; allowed: {allowed} "
            "(or finetune.sweep: [], which trains nothing)"
        )


def _files(config: Config, folder: Path) -> Iterator[str]:
    """Files that settings name, beside media."""
    weights = config.score.descriptor_weights
    if not config.available(weights, folder):
        default = "leave it out for the default, which is downloaded"
        yield f"score.descriptor_weights: {weights!r} {_missing(folder)}; {default}"
    for section in (config.meta, config.finetune):
        for key, file in section.weight_files().items():
            if not config.available(file, folder):
                yield (
                    f"{section.section}.{key}: {file!r} does not exist; "
                    "null takes the embedded network with random weights"
                )
    named = {f"render.{key}": path for key, path in config.render.files().items()}
    named |= {
        f"mark.{key}": path for key, path in (config.mark.signing_files() | config.mark.embedding_files()).items()
    }
    starts = [("meta.start", Path(file)) for file in config.meta.start_files()]
    for key, path in [*named.items(), *starts]:
        if not config.available(path, folder):
            yield f"{key}: {str(path)!r} {_missing(folder)}"


def _missing(folder: Path) -> str:
    return f"does not exist (paths are relative to {folder.absolute()})"


def _unknown(key: str, name: str, known: Collection[str], kind: str) -> Iterator[str]:
    if name not in known:
        close = get_close_matches(name, list(known), n=1)
        hint = f"did you mean {close[0]!r}?" if close else f"known: {', '.join(sorted(known))}"
        yield f"{key}: no {kind} is called {name!r}; {hint}"
