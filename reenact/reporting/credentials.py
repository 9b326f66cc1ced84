"""What the files of a page say about how they were made, in one line each."""

from pathlib import Path

from reenact.provenance.credentials import read_credentials
from reenact.provenance.keys import user_root

CONSENT = {
    "own": "the user's own face",
    "written": "agreed in writing",
    "public-domain": "public domain",
    "fictional": "nobody's face",
}


def credentials_note(path: Path) -> str:
    """One line about a rendering's credentials."""
    roots = user_root().read_text(encoding="utf-8") if user_root().exists() else ""
    found = read_credentials(path, roots)
    if found.state == "none":
        return "Not marked: this file does not say that it is synthetic (mark.enabled: false)."
    if found.state != "intact":
        return f"Credentials: {found.state} ({', '.join(found.problems)})."
    rendering = f"rendering {found.facts['rendering']}, " if "rendering" in found.facts else ""
    key = "a key of this machine's user" if found.trusted else "a certificate"
    return f"Content Credentials: {rendering}{found.source_type}, signed by {found.signer} ({key})."


def consent_note(consent: str | None, note: str) -> str:
    """One line about why a face may be used."""
    if consent is None:
        return "No consent is stated for this face: set consent of this identity in config.yaml."
    return f"Consent: {CONSENT[consent]}." + (f" {note}" if note else "")
