"""Personalise a meta-model: one model at every iteration of the sweep."""

from pathlib import Path

from reenact.runtime.cli import StageParser, run
from reenact.runtime.code_fingerprint import code
from reenact.settings.finetune import FinetuneSettings


def main() -> None:
    parser = StageParser(__doc__, FinetuneSettings)
    parser.add_argument("--crops", type=Path, required=True, help="the person's clip file of stage crop")
    parser.add_argument("--mattes", type=Path, required=True, help="the person's clip file of stage segment")
    parser.add_argument("--meta", type=Path, required=True, help="meta-model (.safetensors)")
    parser.add_argument("--sweep-folder", type=Path, required=True, help="folder to write, one model an iteration")
    parser.add_argument("--runs", type=Path, required=True, help="folder for checkpoints")
    parser.add_device_arguments()
    arguments, (settings,) = parser.parse()

    from reenact.stages.finetune import finetune

    finetune(
        crops=arguments.crops,
        mattes=arguments.mattes,
        meta=arguments.meta,
        sweep=arguments.sweep_folder,
        runs=arguments.runs,
        device=arguments.device,
        threads=arguments.threads,
        settings=settings,
        code=code("finetune"),
    )


if __name__ == "__main__":
    run(main, resumable=True)
