"""Personalise a meta-model: one model at every iteration of the sweep."""

from pathlib import Path

from reenact.runtime.cli import StageParser, run
from reenact.runtime.code_fingerprint import code
from reenact.settings.finetune import FinetuneSettings
from reenact.settings.score import ScoreSettings
from reenact.settings.select import SelectSettings


def main() -> None:
    parser = StageParser(__doc__, FinetuneSettings, ScoreSettings, SelectSettings)
    parser.add_argument("--crops", type=Path, required=True, help="the person's clip file of stage crop")
    parser.add_argument("--mattes", type=Path, required=True, help="the person's clip file of stage segment")
    parser.add_argument("--meta", type=Path, required=True, help="meta-model (.safetensors)")
    parser.add_argument("--sweep-folder", type=Path, required=True, help="folder to write, one model an iteration")
    parser.add_argument("--runs", type=Path, required=True, help="folder for checkpoints")
    parser.add_argument("--driver-crops", type=Path, help="crops of another person; with them the sweep is watched")
    parser.add_argument("--driver-mattes", type=Path, help="mattes of the other person")
    parser.add_device_arguments()
    arguments, (settings, score, select) = parser.parse()

    from reenact.stages.finetune import Driver, finetune

    if bool(arguments.driver_crops) != bool(arguments.driver_mattes):
        parser.error("--driver-crops and --driver-mattes go together")
    driver = Driver(arguments.driver_crops, arguments.driver_mattes, score, select) if arguments.driver_crops else None
    finetune(
        crops=arguments.crops,
        mattes=arguments.mattes,
        meta=arguments.meta,
        sweep=arguments.sweep_folder,
        runs=arguments.runs,
        device=arguments.device,
        threads=arguments.threads,
        settings=settings,
        driver=driver,
        # Watching decides how far a sweep goes, not what its models are.
        code=code("finetune"),
    )


if __name__ == "__main__":
    run(main, resumable=True)
