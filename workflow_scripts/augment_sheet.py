"""Show what augmentation does to training samples: a picture with a row for each."""

from pathlib import Path

from reenact.runtime.cli import StageParser, run
from reenact.settings.meta import MetaSettings
from reenact.settings.model import ModelSettings


def main() -> None:
    parser = StageParser(__doc__, MetaSettings, ModelSettings)
    parser.add_argument("--crops", type=Path, nargs="*", default=[], help="clip files of stage crop")
    parser.add_argument(
        "--mattes", type=Path, nargs="*", default=[], help="clip files of stage segment, in the same order"
    )
    parser.add_argument(
        "--shard-files", type=Path, nargs="*", default=[], help="files of stage shard, in place of clip files"
    )
    parser.add_argument("--sheet", type=Path, required=True, help="picture to write (.png)")
    parser.add_argument("--samples", type=int, default=8, help="rows (default: 8)")
    arguments, (settings, model_settings) = parser.parse()

    from reenact.tools.augment_sheet import draw_augment_sheet

    draw_augment_sheet(
        crops=arguments.crops,
        mattes=arguments.mattes,
        shards=arguments.shard_files,
        sheet=arguments.sheet,
        samples=arguments.samples,
        size=model_settings.image_size,
        settings=settings,
    )


if __name__ == "__main__":
    run(main)
