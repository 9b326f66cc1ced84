"""Content Credentials (C2PA): what a file says about how it was made, signed, so that a change is seen.

Written and read by c2pa-python, without a network (a time stamp authority aside, where one is set). A file that cannot
carry credentials gets them as a sidecar, `<file>.c2pa`; a folder gets a list of its files (LIST), which its sidecar
binds.
"""

import hashlib
import io
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import c2pa

from reenact.provenance.keys import SigningKey
from reenact.runtime.errors import UserError
from reenact.runtime.files import atomic_write

FORMATS = {
    ".mp4": "video/mp4",
    ".m4v": "video/mp4",
    ".mov": "video/quicktime",
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".webp": "image/webp",
    ".tif": "image/tiff",
    ".tiff": "image/tiff",
    ".avi": "video/avi",
}
"""Suffix -> format of files that carry credentials themselves."""
OTHER = "application/octet-stream"
SIDECAR = ".c2pa"
LIST = "SHA256SUMS"
"""List of the files of a folder, as `sha256sum --check` reads it."""
SOURCES = "http://cv.iptc.org/newscodes/digitalsourcetype/"
FACTS = "io.reenact.rendering"
"""Label of our own assertion in a manifest."""
TOOL = "reenact"


@dataclass(frozen=True)
class Origin:
    """Media that a rendering was made of.

    Attributes:
        role: "identity" or "driver".
        sha256: of the file, or of a folder's list of files.
        credentials: those of its files that carry credentials, or have a sidecar.
        name: what it is called; None = the credentials do not say.
    """

    role: str
    sha256: str
    credentials: tuple[Path, ...] = ()
    name: str | None = None


@dataclass(frozen=True)
class Statement:
    """What the credentials of a rendering say.

    Attributes:
        version: of this tool.
        facts: plain JSON: hashes of model and settings, number of the rendering, consent ...
        composite: whether real footage is in the picture, too.
        origins: media that it was made of.
    """

    version: str
    facts: dict[str, Any]
    composite: bool
    origins: tuple[Origin, ...]


@dataclass(frozen=True)
class Credentials:
    """What was found in a file.

    Attributes:
        state: "none", "intact", "tampered" (the file or its manifest was changed), or "unreadable".
        ours: whether they say that this tool made the file.
        tool: name and version of the tool that they name.
        facts: our own assertion; {} where there is none.
        source_type: digital source type of its creation, such as trainedAlgorithmicMedia.
        signer, issuer: whom the certificate names.
        trusted: whether the certificate leads to one of the given roots.
        signed: time of signing as the file states it; of a time stamp authority, if there was one.
        problems: codes of what is wrong, as C2PA has them.
        sidecar: whether they lie beside the file.
    """

    state: str
    ours: bool = False
    tool: str | None = None
    facts: dict[str, Any] = field(default_factory=dict)
    source_type: str | None = None
    signer: str | None = None
    issuer: str | None = None
    trusted: bool = False
    signed: str | None = None
    problems: tuple[str, ...] = ()
    sidecar: bool = False


def sidecar_of(path: Path) -> Path:
    """Where the credentials of a file or folder lie that does not carry them itself."""
    return path.with_name(path.name + SIDECAR)


def carries(path: Path) -> bool:
    """Whether a file of this name carries credentials itself."""
    return path.suffix.lower() in FORMATS


def sha256_of(path: Path) -> str:
    """SHA-256 of a file; of a folder, that of its list of files."""
    if path.is_dir():
        return hashlib.sha256(list_files(path)).hexdigest()
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def list_files(folder: Path) -> bytes:
    """The list of a folder's files, itself aside: one line each, hash and path, in order of the paths."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != LIST)
    return "".join(f"{sha256_of(path)}  {path.relative_to(folder).as_posix()}\n" for path in files).encode()


# ---- writing ---------------------------------------------------------------------------------------------------


def sign_file(source: Path, target: Path, statement: Statement, key: SigningKey, time_stamp: str | None = None) -> None:
    """Copy a file to where it belongs, with credentials in it.

    Args:
        source: a file of FORMATS.
        target: to write, as a whole or not at all.
        statement: what they say.
        key: what signs.
        time_stamp: address of a time stamp authority (RFC 3161).

    Raises:
        UserError: the key is refused, or the authority does not answer.
    """
    with atomic_write(target) as temporary, source.open("rb") as given, temporary.open("w+b") as made:
        _sign(given, made, FORMATS[target.suffix.lower()], statement, key, time_stamp, embed=True)


def sign_beside(path: Path, statement: Statement, key: SigningKey, time_stamp: str | None = None) -> Path:
    """Write the sidecar of a file, or of a folder that has its list (LIST); returns its path. See `sign_file`."""
    content = path / LIST if path.is_dir() else path
    with content.open("rb") as given:
        manifest = _sign(given, io.BytesIO(), _format(path), statement, key, time_stamp, embed=False)
    with atomic_write(sidecar_of(path)) as temporary:
        temporary.write_bytes(manifest)
    return sidecar_of(path)


def _format(path: Path) -> str:
    return OTHER if path.is_dir() else FORMATS.get(path.suffix.lower(), OTHER)


def _sign(
    given: BinaryIO,
    made: BinaryIO,
    kind: str,
    statement: Statement,
    key: SigningKey,
    time_stamp: str | None,
    embed: bool,
) -> bytes:
    info = c2pa.C2paSignerInfo(key.algorithm, key.certificate.encode(), key.pem().encode(), time_stamp)
    settings = _settings() | {
        "builder": {"thumbnail": {"enabled": False}, "actions": {"auto_placed_action": {"enabled": False}}}
    }
    if time_stamp:
        settings["core"] = {}
    try:
        with ExitStack() as stack:
            signer = stack.enter_context(c2pa.Signer.from_info(info))
            context = stack.enter_context(c2pa.Context.from_dict(settings, signer=signer))
            builder = stack.enter_context(c2pa.Builder(_manifest(statement, kind), context=context))
            if not embed:
                builder.set_no_embed()
            for origin in statement.origins:
                _add(builder, origin)
            return bytes(builder.sign(kind, given, made))
    except c2pa.C2paError as error:
        reason = " ".join(str(error).split())
        if time_stamp:
            raise UserError(
                f"mark.time_stamp: {time_stamp} gave no time stamp ({reason}); the unsigned file is kept, so that "
                "the same command signs it later, or without mark.time_stamp at once"
            ) from None
        raise UserError(f"mark.certificate: signing was refused ({reason})") from None


def _settings(roots: str = "") -> dict[str, Any]:
    """Settings of the library: no network, no trust but in the given roots."""
    verify = {"verify_after_sign": True, "remote_manifest_fetch": False, "ocsp_fetch": False, "verify_trust": True}
    trust = {"trust": {"user_anchors": roots}} if roots else {}
    return {"version": 1, "verify": verify, "core": {"allowed_network_hosts": []}, **trust}


def _manifest(statement: Statement, kind: str) -> dict[str, Any]:
    tool = {"name": TOOL, "version": statement.version}
    source = "compositeWithTrainedAlgorithmicMedia" if statement.composite else "trainedAlgorithmicMedia"
    created = {
        "action": "c2pa.created",
        "digitalSourceType": SOURCES + source,
        "softwareAgent": tool,
        "parameters": {"ingredientIds": [label for origin in statement.origins for label in _labels(origin)]},
    }
    return {
        "claim_generator_info": [tool],
        "title": "A synthetic video of a person",
        "format": kind,
        "assertions": [
            {"label": "c2pa.actions.v2", "data": {"actions": [created]}},
            {"label": FACTS, "data": statement.facts},
        ],
    }


def _labels(origin: Origin) -> list[str]:
    return [origin.role, *(f"{origin.role}_{place}" for place in range(1, len(origin.credentials)))]


def _add(builder: c2pa.Builder, origin: Origin) -> None:
    """Media as ingredients: the whole by its hash, and what of it has credentials with these."""
    for label, path in zip(_labels(origin), origin.credentials or (None,), strict=True):
        described = {
            "title": origin.name or f"{origin.role}'s media",
            "relationship": "inputTo",
            "label": label,
            "instance_id": f"sha256:{sha256_of(path) if path else origin.sha256}",
            "description": f"SHA-256 of the {origin.role}'s media: {origin.sha256}",
        }
        if path is None:
            # Of media without credentials the hash says all; the library reads an empty file in their place.
            builder.add_ingredient(described | {"format": OTHER}, OTHER, io.BytesIO(b""))
        elif sidecar_of(path).exists():
            builder.add_ingredient(described, "application/c2pa", io.BytesIO(sidecar_of(path).read_bytes()))
        else:
            with path.open("rb") as file:
                builder.add_ingredient(described, FORMATS[path.suffix.lower()], file)


def with_credentials(media: Path, most: int = 20) -> tuple[Path, ...]:
    """Those files of media (a file or folder) that have credentials: the first `most` of them."""
    files = sorted(path for path in media.rglob("*") if path.is_file()) if media.is_dir() else [media]
    found: list[Path] = []
    for path in files:
        if len(found) < most and carries(path) and read_credentials(path).state in ("intact", "tampered"):
            found.append(path)
    return tuple(found)


# ---- reading ---------------------------------------------------------------------------------------------------


def read_credentials(path: Path, roots: str = "") -> Credentials:
    """The credentials of a file or folder, in it or beside it.

    Args:
        path: any file or folder.
        roots: certificates that are trusted (PEM).
    """
    beside = sidecar_of(path)
    content = _content(path)
    if content is None:
        return Credentials("tampered" if beside.exists() else "none", problems=("folder.changed",))
    try:
        with ExitStack() as stack:
            context = stack.enter_context(c2pa.Context.from_dict(_settings(roots)))
            stream = stack.enter_context(content)
            kind = _format(path)
            if beside.exists():
                reader = c2pa.Reader(kind, stream, beside.read_bytes(), context=context)
            elif kind == OTHER:
                return Credentials("none")
            else:
                reader = c2pa.Reader(kind, stream, context=context)
            return _found(stack.enter_context(reader), beside.exists())
    except c2pa.C2paError as error:
        code = type(error).__name__.lstrip("_")
        if "ManifestNotFound" in f"{code} {error}":
            return Credentials("none")
        return Credentials("unreadable", problems=(" ".join(str(error).split())[:200],))


def _content(path: Path) -> BinaryIO | None:
    """What the credentials bind: the file itself; of a folder its list of files; None where that is not true."""
    if not path.is_dir():
        return path.open("rb")
    listed = path / LIST
    if not listed.exists():
        return io.BytesIO(list_files(path)) if sidecar_of(path).exists() else io.BytesIO()
    text = listed.read_bytes()
    return io.BytesIO(text) if text == list_files(path) else None


def _found(reader: c2pa.Reader, sidecar: bool) -> Credentials:
    manifest = reader.get_active_manifest() or {}
    results = (reader.get_validation_results() or {}).get("activeManifest", {})
    failures = [failure["code"] for failure in results.get("failure", [])]
    wrong = tuple(code for code in failures if code != "signingCredential.untrusted")
    assertions: dict[str, Any] = {
        assertion["label"]: assertion.get("data", {}) for assertion in manifest.get("assertions", [])
    }
    actions: dict[str, Any] = next((data for label, data in assertions.items() if label.startswith("c2pa.actions")), {})
    created: dict[str, Any] = next((a for a in actions.get("actions", []) if a.get("action") == "c2pa.created"), {})
    signature = manifest.get("signature_info") or {}
    tools = manifest.get("claim_generator_info") or []
    return Credentials(
        state="tampered" if wrong or (reader.get_validation_state() == "Invalid" and not failures) else "intact",
        ours=FACTS in assertions and any(tool.get("name") == TOOL for tool in tools),
        tool=" ".join(str(tools[0][part]) for part in ("name", "version") if tools[0].get(part)) if tools else None,
        facts=assertions.get(FACTS, {}),
        source_type=(created.get("digitalSourceType") or "").rpartition("/")[2] or None,
        signer=signature.get("common_name"),
        issuer=signature.get("issuer"),
        trusted=reader.get_validation_state() == "Trusted",
        signed=signature.get("time") or assertions.get(FACTS, {}).get("time"),
        problems=wrong,
        sidecar=sidecar,
    )
