"""Write a model's pose encoder and generator as one ONNX graph, and check it against PyTorch."""

from typing import Any

import click

from reenact.runtime.cli import FILE, command, run


@command(__doc__)
@click.option("--model", type=FILE, required=True, help="An avatar or a meta-model (.safetensors).")
@click.option("--onnx", type=FILE, required=True, help="File to write (.onnx).")
def main(**arguments: Any) -> None:
    from reenact.tools.onnx_export import export_onnx

    export_onnx(**arguments)


if __name__ == "__main__":
    run(main)
