"""List the clips of a meta-learning set: whose they are, and who only validates."""

from pathlib import Path

from reenact.runtime.cli import StageParser, run
from reenact.settings.dataset import DatasetSettings


def main() -> None:
    parser = StageParser(__doc__, DatasetSettings)
    parser.add_argument("--source", type=Path, required=True, help="table (.csv, .parquet) or folder of clips")
    parser.add_argument("--clips", type=Path, required=True, help="table of clips to write (.csv)")
    parser.add_argument("--shards", type=int, required=True, help="number of shards that they are divided into")
    arguments, (settings,) = parser.parse()

    from reenact.stages.dataset import list_clips

    list_clips(source=arguments.source, clips=arguments.clips, shards=arguments.shards, settings=settings)


if __name__ == "__main__":
    run(main)
