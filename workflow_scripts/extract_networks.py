"""Make the face and selfie networks that come with the package anew, out of the wheel of mediapipe 0.10.21.

Any system and any Python can fetch the wheel: pip download --no-deps --only-binary=:all: --python-version 3.11
--platform manylinux_2_28_x86_64 mediapipe==0.10.21
"""

from typing import Any

import click

from reenact.runtime.cli import FILE, command, run


@command(__doc__)
@click.option("--wheel", type=FILE, required=True, help="The wheel (.whl), whose SHA-256 is checked.")
def main(**arguments: Any) -> None:
    from reenact.tools.extract_networks import extract_networks

    extract_networks(**arguments)


if __name__ == "__main__":
    run(main)
