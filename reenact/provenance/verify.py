"""What can be told of a file: whether this tool made it, with what, whether it was changed since, who signed it."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from reenact.provenance.credentials import SIDECAR, TOOL, Credentials, carries, read_credentials, sidecar_of
from reenact.provenance.keys import user_root
from reenact.provenance.model_statement import read_statement
from reenact.provenance.watermark import Watermark
from reenact.provenance.watermark_reader import frames_of, gather, read_watermark
from reenact.runtime.errors import UserError

STATUS = {"intact": 0, "lost": 3, "foreign": 4, "tampered": 5, "unreadable": 6}
"""Verdict -> exit status of the command line. Of several files the greatest counts; 1 and 2 are mistakes in a call."""
WORDS = {
    "intact": "made by reenact, credentials intact",
    "lost": "made by reenact, as its watermark says; the credentials are lost",
    "foreign": "nothing shows that reenact made it",
    "tampered": "CHANGED since it was signed, or the credentials are of another file",
    "unreadable": "cannot be read",
}


@dataclass(frozen=True)
class Verdict:
    """What was found out about a file.

    Attributes:
        path: of the file or folder.
        verdict: a key of STATUS.
        made_by: tool and version as the credentials have it, whatever tool it was.
        facts: what the credentials say, of the model, the settings, consent ...
        signer, issuer: who signed them; None where nobody did.
        trust: "own key" (of this user), "root given", or "none".
        signed: when, as the file says.
        problems: what is wrong, as C2PA names it or in words.
        watermark: its number, 8 hex digits; "?" where its number cannot be read; None where there is none.
        significance: of the watermark, in standard deviations.
        altered: how the picture was changed since, as the watermark shows.
        originals: files whose credentials repeat the watermark's number, where there was a folder to search.
    """

    path: str
    verdict: str
    made_by: str | None = None
    facts: dict[str, Any] = field(default_factory=dict)
    signer: str | None = None
    issuer: str | None = None
    trust: str = "none"
    signed: str | None = None
    problems: tuple[str, ...] = ()
    watermark: str | None = None
    significance: float | None = None
    altered: tuple[str, ...] = ()
    originals: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """Plain JSON."""
        return asdict(self)


def verify(path: Path, watermarks: Sequence[Watermark], roots: str = "") -> Verdict:
    """Look at a file: credentials in it or beside it, and watermark. No error for whatever file; see `Verdict.verdict`.

    Args:
        path: a video, a picture, a folder of frames, or a model.
        watermarks: of the keys to look for.
        roots: certificates that are trusted (PEM), beside this user's own.
    """
    if not path.exists():
        return Verdict(str(path), "unreadable", problems=("no such file or folder",))
    if path.suffix == ".safetensors":
        return _model(path, roots)
    own = user_root().read_text(encoding="utf-8") if user_root().exists() else ""
    try:
        found = read_credentials(path, roots + own)
    except OSError as error:
        return Verdict(str(path), "unreadable", problems=(error.strerror or str(error),))
    trust = "none"
    if found.trusted:
        trust = "root given" if roots and read_credentials(path, roots).trusted else "own key"
    mark, significance, altered, problems = _watermark(path, watermarks)
    return Verdict(
        path=str(path),
        verdict=_verdict(found, mark, problems),
        made_by=found.tool,
        facts=found.facts,
        signer=found.signer,
        issuer=found.issuer,
        trust=trust,
        signed=found.signed,
        problems=found.problems + problems,
        watermark=mark,
        significance=significance,
        altered=altered,
    )


def originals(number: str, folder: Path) -> tuple[str, ...]:
    """Files of a folder, at any depth, whose intact credentials say that they are the rendering of this number."""
    found = []
    for path in sorted(folder.rglob("*")):
        if path.suffix != SIDECAR and (carries(path) or sidecar_of(path).exists()):
            credentials = read_credentials(path)
            if credentials.state == "intact" and credentials.ours and credentials.facts.get("rendering") == number:
                found.append(str(path))
    return tuple(found)


def with_originals(verdict: Verdict, folder: Path) -> Verdict:
    """The same with the renderings in a folder that the file was made of, where its watermark's number can be read."""
    if verdict.watermark in (None, "?"):
        return verdict
    return replace(verdict, originals=originals(str(verdict.watermark), folder))


def _verdict(found: Credentials, mark: str | None, problems: tuple[str, ...]) -> str:
    if found.state == "tampered":
        return "tampered"
    if found.state == "intact" and found.ours:
        return "intact"
    if mark:
        return "lost"
    return "unreadable" if problems and found.state != "intact" else "foreign"


def _watermark(
    path: Path, watermarks: Sequence[Watermark]
) -> tuple[str | None, float | None, tuple[str, ...], tuple[str, ...]]:
    """Number, significance, what was done to the picture, and why it could not be read."""
    try:
        evidence = gather(frames_of(path))
    except UserError as error:
        return None, None, (), (str(error).removeprefix(f"{path}: "),)
    readings = [read_watermark(evidence, watermark) for watermark in watermarks]
    best = max(readings, key=lambda one: (one.payload is not None, one.found, one.significance), default=None)
    if best is None or not best.found:
        return None, None if best is None else round(best.significance, 2), (), ()
    place = best.place
    altered = [f"scaled by {1 / place.scale:.2f}"] if abs(place.scale - 1) > 0.01 else []
    altered += [f"turned by {-place.angle:.1f} degrees"] if abs(place.angle) > 0.3 else []
    altered += ["mirrored"] if place.mirrored else []
    altered += [f"{place.speed:g} times as fast"] if place.speed != 1 else []
    number = "?" if best.payload is None else f"{best.payload:08x}"
    return number, round(best.significance, 2), tuple(altered), ()


def _model(path: Path, roots: str) -> Verdict:
    own = user_root().read_bytes() if user_root().exists() else b""
    try:
        found = read_statement(path, roots.encode() + own)
        given = bool(roots) and read_statement(path, roots.encode()).trusted
    except UserError as error:
        return Verdict(str(path), "unreadable", problems=(str(error).removeprefix(f"{path}: "),))
    return Verdict(
        path=str(path),
        verdict={"none": "foreign"}.get(found.state, found.state),
        made_by=found.facts.get("made_by"),
        facts=found.facts,
        signer=found.signer,
        trust="root given" if given else "own key" if found.trusted else "none",
        problems=("the statement is not of these weights, or not of this signer",) if found.state == "tampered" else (),
    )


def in_words(verdict: Verdict) -> Iterator[str]:
    """Lines for people."""
    yield f"{verdict.path}: {WORDS[verdict.verdict]}"
    for problem in verdict.problems:
        yield f"  problem      {problem}"
    if verdict.made_by and not verdict.made_by.startswith(TOOL):
        yield f"  made by      {verdict.made_by}, as its credentials say"
    if verdict.signer:
        trust = {
            "own key": "your own key",
            "root given": "trusted: the root was given",
            "none": "UNTRUSTED: nobody here knows its root",
        }[verdict.trust]
        issuer = f", {verdict.issuer}" if verdict.issuer else ""
        yield f"  signed by    {verdict.signer}{issuer} ({trust})" + (f", {verdict.signed}" if verdict.signed else "")
    for name, value in verdict.facts.items():
        if value not in ("", None) and name not in ("time", "made_by"):
            yield f"  {name.replace('_', ' '):12} {value}"
    if verdict.watermark:
        same = verdict.watermark == verdict.facts.get("rendering")
        told = ", as the credentials say" if same else ""
        other = verdict.facts.get("rendering") and not same and verdict.watermark != "?"
        told = ", of another rendering than the credentials" if other else told
        number = "there is one; its number cannot be read" if verdict.watermark == "?" else verdict.watermark
        how = f" ({', '.join(verdict.altered)})" if verdict.altered else ""
        yield f"  in frames    {number}{told}{how}"
    elif verdict.significance is not None:
        yield "  in frames    no watermark found"
    for original in verdict.originals:
        yield f"  original     {original}"
