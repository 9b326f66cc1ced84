"""Downloads: a file is kept only if its SHA-256 is the expected one."""

import hashlib
import shutil
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

from reenact.runtime.errors import UserError
from reenact.runtime.files import atomic_write

TIMEOUT = 60
"""Longest silence of a server, s."""
CHUNK_SIZE = 1 << 20


def download(url: str, sha256: str, target: Path) -> None:
    """Download `url` to `target`, whole or not at all.

    Args:
        url: address that begins with https://, http:// or file://.
        sha256: SHA-256 that the file must have, 64 hex digits.
        target: file to write.

    Raises:
        UserError: the address cannot be read, the file there is another one, or `target` cannot be written.
    """
    # Only here: whoever checks a file alone does not wait for them.
    import pooch
    from requests import RequestException

    # pooch.retrieve makes files that only their owner can read, so pooch's downloader is used by itself.
    with atomic_write(target) as temporary:
        try:
            if url.startswith("file://"):
                shutil.copyfile(url2pathname(urlsplit(url).path), temporary)
            else:
                pooch.HTTPDownloader(timeout=TIMEOUT, chunk_size=CHUNK_SIZE)(url, str(temporary), None)
        except (RequestException, FileNotFoundError, IsADirectoryError, PermissionError) as error:
            raise UserError(
                f"{url}: cannot be downloaded ({error}); check the address and the network, a proxy in https_proxy, "
                "and its certificates in REQUESTS_CA_BUNDLE"
            ) from None
        check_sha256(temporary, sha256, f"{target}: {url}")


def check_sha256(path: Path, sha256: str, name: str) -> None:
    """Make sure that a downloaded file is the expected one.

    Args:
        path: of the file.
        sha256: SHA-256 that it must have, 64 hex digits.
        name: what to call it in the error.

    Raises:
        UserError: it has another SHA-256.
    """
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != sha256.lower():
        raise UserError(
            f"{name} is not the expected file: SHA-256 expected {sha256}, found {found}. "
            "Download again; if it stays so, another file is served there."
        )
