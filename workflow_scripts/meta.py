"""Meta-learn one model from the clips of many people, or take one from a file."""

from pathlib import Path

from reenact.cli import StageParser, run
from reenact.meta import MetaOutputs, make_meta_model
from reenact.provenance import code
from reenact.settings.meta import MetaSettings
from reenact.settings.model import ModelSettings


def main() -> None:
    parser = StageParser(__doc__, MetaSettings, ModelSettings)
    parser.add_argument("--crops", type=Path, nargs="+", required=True, help="clip files of stage crop")
    parser.add_argument("--mattes", type=Path, nargs="+", required=True, help="clip files of stage segment, in the same order")
    parser.add_argument("--identities", nargs="+", default=[], help="who is seen in each clip, in the same order (default: each shows somebody else)")
    parser.add_argument("--model", type=Path, required=True, help="model file to write (.safetensors)")
    parser.add_argument("--curves", type=Path, required=True, help="losses by step, to write (.csv)")
    parser.add_argument("--preview", type=Path, required=True, help="picture of identities x drivers to write (.png)")
    parser.add_argument("--runs", type=Path, required=True, help="folder for checkpoints")
    parser.add_device_arguments()
    arguments, (settings, model_settings) = parser.parse()
    make_meta_model(
        crops=arguments.crops, mattes=arguments.mattes,
        outputs=MetaOutputs(arguments.model, arguments.curves, arguments.preview), runs=arguments.runs,
        device=arguments.device, threads=arguments.threads, code=code("meta"), settings=settings, model_settings=model_settings,
        identities=arguments.identities,
    )  # fmt: skip


if __name__ == "__main__":
    run(main)
