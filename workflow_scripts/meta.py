"""Meta-learn one model from the clips of many people, or take one from a file."""

from pathlib import Path

from reenact.runtime.cli import StageParser, run
from reenact.runtime.code_fingerprint import code
from reenact.runtime.torchrun import launch
from reenact.settings.meta import MetaSettings
from reenact.settings.model import ModelSettings
from reenact.settings.saved_run import saved_settings
from reenact.settings.score import ScoreSettings


def main() -> None:
    parser = StageParser(__doc__, MetaSettings, ModelSettings, ScoreSettings)
    parser.add_argument("--crops", type=Path, nargs="*", default=[], help="clip files of stage crop")
    parser.add_argument(
        "--mattes", type=Path, nargs="*", default=[], help="clip files of stage segment, in the same order"
    )
    parser.add_argument(
        "--shard-files", type=Path, nargs="*", default=[], help="files of stage shard, in place of all clip files"
    )
    parser.add_argument(
        "--identities",
        nargs="+",
        default=[],
        help="who is seen in each clip, in the same order (default: each shows somebody else)",
    )
    parser.add_argument(
        "--validation-crops",
        type=Path,
        nargs="*",
        default=[],
        help="crops of people who validate; none = pictures only",
    )
    parser.add_argument("--validation-mattes", type=Path, nargs="*", default=[], help="their mattes, in the same order")
    parser.add_argument("--validation-identities", nargs="*", default=[], help="who they are, likewise")
    parser.add_argument("--model", type=Path, required=True, help="model file to write (.safetensors)")
    parser.add_argument("--curves", type=Path, required=True, help="losses by step, to write (.csv)")
    parser.add_argument("--metrics", type=Path, required=True, help="how good the model is, to write (.json)")
    parser.add_argument("--preview", type=Path, required=True, help="picture of identities x drivers to write (.png)")
    parser.add_argument("--runs", type=Path, required=True, help="folder for checkpoints, statistics and TensorBoard")
    parser.add_argument(
        "--dry-run",
        action="store_true",
        help="build everything, make three steps, print memory and time of the whole, and write nothing",
    )
    parser.add_device_arguments()
    arguments, (settings, model_settings, score) = parser.parse(saved=saved_settings)

    if launch(settings.processes):
        return

    from reenact.data.shard_people import Shards
    from reenact.stages.meta import Clips, MetaOutputs, make_meta_model

    clips = Clips(arguments.crops, arguments.mattes, arguments.identities)
    validation = Clips(arguments.validation_crops, arguments.validation_mattes, arguments.validation_identities)
    if arguments.shard_files:
        clips, validation = (
            Shards(arguments.shard_files, "train", settings.sample_of),
            Shards(arguments.shard_files, "validation", "identity"),
        )
    make_meta_model(
        clips=clips,
        validation=validation,
        outputs=MetaOutputs(arguments.model, arguments.curves, arguments.metrics, arguments.preview),
        runs=arguments.runs,
        device=arguments.device,
        threads=-(-arguments.threads // settings.processes),
        code=code("meta"),
        settings=settings,
        model_settings=model_settings,
        score=score,
        dry_run=arguments.dry_run,
    )


if __name__ == "__main__":
    run(main, resumable=True)
