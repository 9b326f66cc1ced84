"""What a model file says about itself, signed, in its own metadata."""

import base64
import hashlib
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from reenact.provenance.keys import SigningKey, chain_leads_to, check_signature, signer_name
from reenact.runtime.errors import UserError
from reenact.runtime.files import atomic_write

MAX_HEADER = 100_000_000
"""Of a safetensors file, bytes, as that library has it."""
ENTRY = "provenance"
"""Of a safetensors file's metadata: JSON with statement (JSON text), signature (base64) and certificate (PEM)."""


@dataclass(frozen=True)
class ModelStatement:
    """What was found in a model file.

    Attributes:
        state: "none", "intact", or "tampered".
        facts: what it says.
        signer: whom the certificate names.
        trusted: whether the certificate leads to one of the given roots.
    """

    state: str
    facts: dict[str, Any] = field(default_factory=dict)
    signer: str | None = None
    trusted: bool = False


def sign_model(source: Path, target: Path, facts: dict[str, Any], key: SigningKey) -> None:
    """Copy a safetensors file, with a signed statement in its metadata. Its tensors stay byte for byte.

    Args:
        source: the file.
        target: to write, as a whole or not at all.
        facts: plain JSON; "weights" (`weights_sha256`) is the tensors' hash, which binds the statement to them.
        key: what signs.

    Raises:
        UserError: it is no safetensors file.
    """
    statement = json.dumps(facts, sort_keys=True)
    entry = {
        "statement": statement,
        "signature": base64.b64encode(key.sign(statement.encode())).decode(),
        "certificate": key.certificate,
    }
    with _opened(source) as (header, given), atomic_write(target) as temporary, temporary.open("wb") as made:
        header["__metadata__"] = (header.get("__metadata__") or {}) | {ENTRY: json.dumps(entry)}
        text = json.dumps(header, separators=(",", ":")).encode()
        text += b" " * (-len(text) % 8)  # the format wants tensors to begin at multiples of 8
        made.write(len(text).to_bytes(8, "little") + text)
        shutil.copyfileobj(given, made, 1 << 20)


def weights_sha256(path: Path) -> str:
    """SHA-256 of a safetensors file's tensors, which metadata do not change.

    Raises:
        UserError: no such file, or not of that kind.
    """
    with _opened(path) as (header, file):
        header.pop("__metadata__", None)
        digest = hashlib.sha256(json.dumps(header, sort_keys=True).encode())
        while part := file.read(1 << 20):
            digest.update(part)
    return digest.hexdigest()


@contextmanager
def _opened(path: Path) -> Iterator[tuple[dict[str, Any], BinaryIO]]:
    """A safetensors file's header, and the file where its tensors begin."""
    try:
        file = path.open("rb")
    except OSError as error:
        raise UserError(f"{path}: not a readable model file ({error})") from None
    with file:
        size = int.from_bytes(file.read(8), "little")
        text = file.read(size) if size <= MAX_HEADER else b""
        try:
            header = json.loads(text)
        except ValueError:
            header = None
        if not isinstance(header, dict):
            raise UserError(f"{path}: not a readable model file (no safetensors header)")
        yield header, file


def read_statement(path: Path, roots: bytes = b"") -> ModelStatement:
    """What a model file says.

    Args:
        path: the file.
        roots: certificates that are trusted (PEM).

    Raises:
        UserError: it is no safetensors file.
    """
    with _opened(path) as (header, _):
        text = (header.get("__metadata__") or {}).get(ENTRY)
    if text is None:
        return ModelStatement("none")
    try:
        entry = json.loads(text)
        certificate, statement = entry["certificate"].encode(), entry["statement"]
        facts = json.loads(statement)
        genuine = check_signature(statement.encode(), base64.b64decode(entry["signature"]), certificate)
        intact = genuine and facts.get("weights") == weights_sha256(path)
        trusted = intact and bool(roots) and chain_leads_to(certificate, roots)
        return ModelStatement("intact" if intact else "tampered", facts, signer_name(certificate), trusted)
    except (ValueError, KeyError, TypeError, AttributeError):
        return ModelStatement("tampered")
