"""Stage mark: renderings and avatars say how they were made, signed; nothing is rendered or encoded for it."""

import datetime
import json
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import reenact
from reenact.provenance.credentials import (
    LIST,
    Origin,
    Statement,
    carries,
    list_files,
    sha256_of,
    sign_beside,
    sign_file,
    with_credentials,
)
from reenact.provenance.keys import SigningKey, load_signing_key, user_root
from reenact.provenance.model_statement import read_statement, sign_model, weights_sha256
from reenact.provenance.stamp import Stamp
from reenact.runtime.files import atomic_folder, atomic_write
from reenact.settings.mark import Consent, MarkSettings
from reenact.settings.render import RenderSettings

COMPOSITE = ("side_by_side", "on_background", "pasted")
"""Outputs that show real footage beside what was rendered."""


@dataclass(frozen=True)
class Person:
    """Whose face it is, and of what media.

    Attributes:
        media: file or folder.
        consent: why it may be used; None = nobody said.
        note: about it.
        name: in the configuration.
    """

    media: Path
    consent: Consent | None = None
    note: str = ""
    name: str = ""


@dataclass(frozen=True)
class Driver:
    """The media that a person follows, and their name in the configuration."""

    media: Path
    name: str = ""


def mark_renders(
    *, record: Path, stem: Path, identity: Person, driver: Driver, render: RenderSettings, settings: MarkSettings
) -> None:
    """Put the renderings of one pair where they belong, with credentials in them or beside them.

    Args:
        record: <stem>.json of stage render, beside what it rendered.
        stem: of the finished files: <stem>.mp4 and others, see `RenderSettings.targets`.
        identity, driver: what they were made of.
        render: of stage render, for the names of its outputs.
        settings: of the stage; `enabled: false` leaves the files as they are.

    Raises:
        UserError: files or keys are missing or unfit; a time stamp authority does not answer.
    """
    facts = json.loads(record.read_text(encoding="utf-8"))
    unsigned = record.with_suffix("")
    pairs = {
        output: (Path(path), Path(render.targets(str(stem))[output]))
        for output, path in render.targets(str(unsigned)).items()
    }
    if not settings.enabled:
        print("mark: mark.enabled is false, so these files say nothing of how they were made", flush=True)
        for source, target in pairs.values():
            _linked(source, target)
        return
    warn_of_consent(identity)
    key = _key(settings)
    origins = tuple(
        Origin(role, sha256_of(media), with_credentials(media), name if settings.names and name else None)
        for role, media, name in (("identity", identity.media, identity.name), ("driver", driver.media, driver.name))
    )
    for output, (source, target) in pairs.items():
        composite = output in COMPOSITE and not (output == "on_background" and render.background.startswith("#"))
        statement = Statement(reenact.__version__, _facts(facts, output, identity, origins), composite, origins)
        if carries(target):
            sign_file(source, target, statement, key, settings.time_stamp)
        else:
            _linked(source, target)
            sign_beside(target, statement, key, settings.time_stamp)
    _say_who(key)


def mark_model(*, model: Path, meta_model: Path | None, target: Path, identity: Person, settings: MarkSettings) -> None:
    """Copy an avatar, with what it was made of in its metadata, signed.

    Args:
        model: the avatar as it was chosen.
        meta_model: what it was fine-tuned from.
        target: to write.
        identity: whose avatar it is.
        settings: of the stage; `enabled: false` copies the file as it is.

    Raises:
        UserError: files or keys are missing or unfit.
    """
    if not settings.enabled:
        _linked(model, target)
        return
    warn_of_consent(identity)
    key = _key(settings)
    facts: dict[str, Any] = {
        "made_by": f"reenact {reenact.__version__}",
        "kind": "a neural network that makes synthetic videos of one person",
        "weights": weights_sha256(model),
        "meta_model": weights_sha256(meta_model) if meta_model else None,
        "identity_media": sha256_of(identity.media),
        "consent": identity.consent or "not stated",
        "consent_note": identity.note,
    }
    if settings.names and identity.name:
        facts["identity"] = identity.name
    sign_model(model, target, facts, key)
    _say_who(key)


def sign_recording(
    video: Path, models: Sequence[Path], stamp: Stamp, *, composite: bool, settings: MarkSettings
) -> None:
    """Put credentials into a video that no rule made: of live driving, or of a morph.

    Args:
        video: mp4, replaced by itself with credentials.
        models: whose pictures it shows; what their own statements say of consent is repeated.
        stamp: what was put into its frames.
        composite: whether the driver is seen, too.
        settings: keys.

    Raises:
        UserError: keys are missing or unfit.
    """
    said = [read_statement(model).facts for model in models]
    consent = [str(facts.get("consent", "not stated")) for facts in said]
    facts = {
        "rendering": stamp.name,
        "version": stamp.version,
        "models": [weights_sha256(model) for model in models],
        "watermark": "private key" if settings.watermark_key else "public key",
        "consent": ", ".join(dict.fromkeys(consent)),
        "time": _now(),
    }
    media = dict.fromkeys(str(found["identity_media"]) for found in said if found.get("identity_media"))
    origins = tuple(Origin("identity" if not place else f"identity_{place}", one) for place, one in enumerate(media))
    sign_file(video, video, Statement(stamp.version, facts, composite, origins), _key(settings), settings.time_stamp)


def warn_of_consent(identity: Person) -> None:
    """Say it where nobody said why a face may be used."""
    if identity.consent is None:
        name = f"identities.{identity.name}" if identity.name else str(identity.media)
        print(
            f"warning: {name}: no consent is stated; set consent to own, written, public-domain or fictional",
            flush=True,
        )


def _facts(record: dict[str, Any], output: str, identity: Person, origins: tuple[Origin, ...]) -> dict[str, Any]:
    return {
        **{name: record[name] for name in ("rendering", "version", "model", "settings", "watermark")},
        "output": output,
        "identity_media": origins[0].sha256,
        "driver_media": origins[1].sha256,
        "consent": identity.consent or "not stated",
        "consent_note": identity.note,
        "time": _now(),
    }


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


def _key(settings: MarkSettings) -> SigningKey:
    return load_signing_key(*(settings.signing_files().get(name) for name in ("certificate", "key")))


def _say_who(key: SigningKey) -> None:
    if key.own:
        print(
            "mark: signed with a key that was made for you; others read it as untrusted until you give them "
            f"{user_root()}, or set mark.certificate and mark.key",
            flush=True,
        )


def _linked(source: Path, target: Path) -> None:
    """The same file or folder under another name, without a copy where the disk can do that."""
    if source.is_dir():
        with atomic_folder(target) as folder:
            for file in sorted(source.iterdir()):
                _link(file, folder / file.name)
            (folder / LIST).write_bytes(list_files(folder))
    else:
        with atomic_write(target) as temporary:
            _link(source, temporary)


def _link(source: Path, target: Path) -> None:
    target.unlink(missing_ok=True)
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
