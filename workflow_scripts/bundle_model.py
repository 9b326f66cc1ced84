"""Make reenact/bundled/mini.safetensors of a trained meta-model: half precision, with its clips' sources and licences."""

from pathlib import Path

from reenact.runtime.cli import StageParser, run


def main() -> None:
    parser = StageParser(__doc__)
    parser.add_argument(
        "--model", type=Path, required=True, help="meta-model of stage meta, or the bundled one, to add scores to"
    )
    parser.add_argument("--clips", type=Path, required=True, help="table of clips: id, person, source, licence (.csv)")
    parser.add_argument("--scores", type=Path, help="scores.csv of benchmarks/bundled.py, of the same weights")
    arguments, _ = parser.parse()

    from reenact.tools.bundle_model import bundle_model

    bundle_model(model=arguments.model, clips=arguments.clips, scores=arguments.scores)


if __name__ == "__main__":
    run(main)
