"""Write a model's pose encoder and generator as one ONNX graph, and check it against PyTorch."""

from pathlib import Path

from reenact.runtime.cli import StageParser, run


def main() -> None:
    parser = StageParser(__doc__)
    parser.add_argument("--model", type=Path, required=True, help="an avatar or a meta-model (.safetensors)")
    parser.add_argument("--onnx", type=Path, required=True, help="file to write (.onnx)")
    arguments, _ = parser.parse()

    from reenact.tools.onnx_export import export_onnx

    export_onnx(model=arguments.model, onnx=arguments.onnx)


if __name__ == "__main__":
    run(main)
