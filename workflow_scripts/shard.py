"""Decode, crop and segment one share of a meta-learning set, and pack it into one file."""

from pathlib import Path

from reenact.runtime.cli import StageParser, run
from reenact.runtime.code_fingerprint import code
from reenact.settings.crop import CropSettings
from reenact.settings.decode import DecodeSettings
from reenact.settings.segment import SegmentSettings
from reenact.settings.shard import ShardSettings


def main() -> None:
    parser = StageParser(__doc__, ShardSettings, DecodeSettings, CropSettings, SegmentSettings)
    parser.add_argument("--clips", type=Path, required=True, help="table of stage dataset")
    parser.add_argument("--number", type=int, required=True, help="which shard, from 0")
    parser.add_argument("--shards", type=int, required=True, help="of how many")
    parser.add_argument(
        "--shard", type=Path, required=True, help="file to write (.tar); its index (.npz) goes beside it"
    )
    parser.add_argument("--failures", type=Path, required=True, help="table of what is left out, to write (.csv)")
    parser.add_argument("--runs", type=Path, required=True, help="folder for unfinished shards")
    parser.add_device_arguments()
    arguments, (shard, decode, crop, segment) = parser.parse()

    from reenact.stages.shard import Preparation, ShardNumber, ShardOutputs, make_shard

    make_shard(
        clips=arguments.clips,
        number=ShardNumber(arguments.number, arguments.shards),
        outputs=ShardOutputs(arguments.shard, arguments.failures),
        runs=arguments.runs,
        device=arguments.device,
        threads=arguments.threads,
        code=code("shard"),
        settings=Preparation(decode, crop, segment, shard),
    )


if __name__ == "__main__":
    run(main)
