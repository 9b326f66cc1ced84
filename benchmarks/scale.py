"""What does meta-learning at full size cost? python benchmarks/scale.py [--set TABLE]

Measured here, in time of one core: a clip of the set from its media to its place in a shard, and how large it is there;
and one training step of the published preset at 256 px, with published losses, one sample. Counted: the floating-point
operations of that step. Estimated from these: disk and hours for sets of 1,500, 15,000 and 150,000 videos. Hours of
GPUs are operations divided by what a GPU is assumed to do (--tflops); none was measured. Training is taken to be as
long as published: 2.7 million steps of 8 samples on 98,000 videos, 220 samples a video.
"""

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import redirect_stdout
from pathlib import Path

import torch

from reenact.data.samples import Batch
from reenact.data.shard_file import Shard
from reenact.models.architecture import PRESETS
from reenact.models.reenactor import Reenactor, build_discriminator
from reenact.runtime.utilization import OperationCount
from reenact.settings.crop import CropSettings
from reenact.settings.dataset import DatasetSettings
from reenact.settings.decode import DecodeSettings
from reenact.settings.meta import MetaSettings
from reenact.settings.segment import SegmentSettings
from reenact.settings.shard import ShardSettings
from reenact.stages.dataset import list_clips
from reenact.stages.shard import Preparation, ShardNumber, ShardOutputs, make_shard
from reenact.training.adversarial import AdversarialObjective
from reenact.training.learner import Learner
from reenact.training.loop import backward

WOMAN = Path("resources/media/WolfgangLanger_Pexels.mp4")
SIZES = (1_500, 15_000, 150_000)
SAMPLES_A_VIDEO = 2_700_000 * 8 / 98_000


def measure_clips(source: Path) -> tuple[float, float]:
    """Core seconds and bytes of a clip of a set; what it takes to begin a job is left out."""
    settings = Preparation(DecodeSettings(), CropSettings(), SegmentSettings(), ShardSettings(max_failed=1.0))
    with (
        tempfile.TemporaryDirectory(prefix="reenact-scale-") as name,
        open(os.devnull, "w") as silence,
        redirect_stdout(silence),
    ):
        folder = Path(name)
        list_clips(source=source, clips=folder / "clips.csv", shards=1, settings=DatasetSettings(validation=0))
        lines = (folder / "clips.csv").read_text().splitlines(keepends=True)
        seconds = []
        for kind, rows in (("one", lines[:2]), ("all", lines)):
            (folder / f"{kind}.csv").write_text("".join(rows))
            started = time.process_time()
            outputs = ShardOutputs(folder / f"{kind}.tar", folder / f"{kind}.failures.csv")
            make_shard(
                clips=folder / f"{kind}.csv",
                number=ShardNumber(0, 1),
                outputs=outputs,
                runs=folder / kind,
                code="",
                settings=settings,
            )
            seconds.append(time.process_time() - started)
        clips = len(Shard(outputs.shard))
        each = (seconds[1] - seconds[0]) / (len(lines) - 2)
        return each, outputs.shard.stat().st_size / clips


def measure_step() -> tuple[float, float]:
    """Core seconds and floating-point operations of one training step with one sample."""
    settings, architecture = MetaSettings.model_validate({"losses": {"form": "published"}}), PRESETS["published"]
    learner = Learner(Reenactor(architecture), build_discriminator(architecture, 100), settings)
    objective, size = AdversarialObjective(settings), architecture.image_size
    frames = torch.rand(2, settings.identity_frames, 3, size, size)
    matte = torch.ones(2, 1, size, size)
    # Two samples, since batch norms want more than one; halved below.
    batch = Batch(frames, frames[:, 0], frames[:, 0], matte, torch.arange(2))
    started = time.process_time()
    count = OperationCount()
    backward(learner, [batch], objective, count)
    return (time.process_time() - started) / 2, count.total / 2


def _figure(value: float) -> str:
    return f"{value:,.0f}" if value >= 10 else f"{value:.1f}" if value >= 0.1 else "< 0.1"


def print_table(clip: float, size: float, flops: float, tflops: float, gpus: Sequence[int], efficiency: float) -> None:
    """Disk and hours by number of videos."""
    heads = [f"{count} GPU{'s' * (count > 1)}, h" for count in gpus]
    print(f"| videos | shards, GB | preprocessing, core h | with 16 cores, h | {' | '.join(heads)} |")
    print("| ---: " * (4 + len(gpus)) + "|")
    for videos in SIZES:
        hours = clip * videos / 3600
        training = SAMPLES_A_VIDEO * videos * flops / (tflops * 1e12) / 3600
        cells = [training / (count * (1 if count == 1 else efficiency)) for count in gpus]
        print(f"| {videos:,} | {' | '.join(map(_figure, [size * videos / 1e9, hours, hours / 16, *cells]))} |")


def main() -> None:
    """Print what was measured, and the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--set",
        type=Path,
        help=f"table or folder of clips like those of the set (default: stretches of 8 s of {WOMAN})",
    )
    parser.add_argument(
        "--tflops",
        type=float,
        default=30.0,
        help="10^12 operations a second that a GPU is assumed to do (default: 30, a tenth of an A100's peak in bf16)",
    )
    parser.add_argument(
        "--efficiency",
        type=float,
        default=0.85,
        help="share of that, that each of several GPUs is assumed to keep (default: 0.85)",
    )
    arguments = parser.parse_args()
    source = arguments.set
    with tempfile.TemporaryDirectory(prefix="reenact-scale-") as folder:
        if source is None:
            if not WOMAN.is_file():
                sys.exit(f"error: {WOMAN}: no such file; fetch it with: snakemake --cores 1 {WOMAN}")
            source = Path(folder) / "set.csv"
            rows = [f"{n},{n},{WOMAN.absolute()},{2 * n},{2 * n + 8}" for n in range(6)]
            source.write_text("\n".join(["clip,identity,path,start,end", *rows]) + "\n")
        clip, size = measure_clips(source)
    print(f"load {os.getloadavg()[0]:.1f}\n\na clip: {clip:.2f} core s, {size / 1e3:.0f} KB")
    seconds, flops = measure_step()
    print(
        f"a training step, one sample: {seconds:.1f} core s, {flops / 1e12:.2f} x 10^12 operations "
        f"({flops / seconds / 1e9:.0f} x 10^9 a second)\n"
    )
    print_table(clip, size, flops, arguments.tflops, (1, 8), arguments.efficiency)


if __name__ == "__main__":
    main()
