"""Turn a checkpoint of the authors' code (.pth), meta-model or fine-tuned avatar, into a model file."""

from pathlib import Path

from reenact.runtime.cli import StageParser, run


def main() -> None:
    parser = StageParser(__doc__)
    parser.add_argument("--checkpoint", type=Path, required=True, help="the authors' file (.pth)")
    parser.add_argument("--model", type=Path, required=True, help="model file to write (.safetensors)")
    parser.add_argument(
        "--checkpoint-out", type=Path, help="folder for everything that training needs to go on (default: not written)"
    )
    parser.add_argument(
        "--weights", choices=["average", "raw"], default="average", help="weights for the model (default: average)"
    )
    arguments, _ = parser.parse()

    from reenact.stages.import_published import import_published

    import_published(
        checkpoint=arguments.checkpoint,
        model=arguments.model,
        checkpoint_out=arguments.checkpoint_out,
        weights=arguments.weights,
    )


if __name__ == "__main__":
    run(main)
