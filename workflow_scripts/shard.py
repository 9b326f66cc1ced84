"""Decode, crop and segment one share of a meta-learning set, and pack it into one file."""

from typing import Any

import click

from reenact.runtime.cli import FILE, command, device_options, run
from reenact.runtime.code_fingerprint import code
from reenact.runtime.startup import quick_imports
from reenact.settings.crop import CropSettings
from reenact.settings.decode import DecodeSettings
from reenact.settings.segment import SegmentSettings
from reenact.settings.shard import ShardSettings


@command(__doc__, ShardSettings, DecodeSettings, CropSettings, SegmentSettings)
@click.option("--clips", type=FILE, required=True, help="Table of stage dataset.")
@click.option("--number", type=int, required=True, help="Which shard, from 0.")
@click.option("--shards", type=int, required=True, help="Of how many.")
@click.option("--shard", type=FILE, required=True, help="File to write (.tar); its index (.npz) goes beside it.")
@click.option("--failures", type=FILE, required=True, help="Table of what is left out, to write (.csv).")
@click.option("--runs", type=FILE, required=True, help="Folder for unfinished shards.")
@device_options
def main(
    settings: ShardSettings, decode: DecodeSettings, crop: CropSettings, segment: SegmentSettings, **arguments: Any
) -> None:
    with quick_imports():
        from reenact.stages.shard import Preparation, ShardNumber, ShardOutputs, make_shard

    make_shard(
        number=ShardNumber(arguments.pop("number"), arguments.pop("shards")),
        outputs=ShardOutputs(arguments.pop("shard"), arguments.pop("failures")),
        code=code("shard"),
        settings=Preparation(decode, crop, segment, settings),
        **arguments,
    )


if __name__ == "__main__":
    run(main)
