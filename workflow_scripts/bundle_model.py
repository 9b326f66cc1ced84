"""Make reenact/bundled/mini.safetensors of a trained meta-model: half precision, sources and licences of its clips."""

from typing import Any

import click

from reenact.runtime.cli import FILE, command, run


@command(__doc__)
@click.option(
    "--model", type=FILE, required=True, help="Meta-model of stage meta, or the bundled one, to add scores to."
)
@click.option("--clips", type=FILE, required=True, help="Table of clips: id, person, source, licence (.csv).")
@click.option("--scores", type=FILE, help="scores.csv of benchmarks/bundled.py, of the same weights.")
def main(**arguments: Any) -> None:
    from reenact.tools.bundle_model import bundle_model

    bundle_model(**arguments)


if __name__ == "__main__":
    run(main)
