"""Measure which controls of a meta-model of the warping family work, on people who trained nothing, and store those.

Of the people, every second one tells what has to move with each control so that nothing else is seen to move; the
others tell how well that works.
"""

from pathlib import Path

import click

from reenact.runtime.cli import FILE, command, run


@command(__doc__)
@click.option("--model", type=FILE, required=True, help="The meta-model (.safetensors); it gets what is offered.")
@click.option("--crops", type=FILE, multiple=True, required=True, help="Clip files of stage crop, one a person.")
@click.option("--mattes", type=FILE, multiple=True, required=True, help="Of stage segment, in the same order.")
@click.option(
    "--weights",
    type=FILE,
    default="resources/weights/dlib_face_recognition_resnet_model_v1.dat",
    show_default=True,
    help="dlib's network, which tells whether the person stays the same.",
)
@click.option("--table", type=FILE, help="CSV to write: how well each control works.")
def main(*, model: Path, crops: tuple[Path, ...], mattes: tuple[Path, ...], weights: Path, table: Path | None) -> None:
    from reenact.runtime.errors import UserError
    from reenact.runtime.files import write_text
    from reenact.tools.controls import Subject, fit_controls, measure_controls, store_controls

    if len(crops) != len(mattes):
        raise UserError(f"--crops names {len(crops)} files and --mattes {len(mattes)}; give one of each a person")
    people = [Subject(path.parent.name, path, matte) for path, matte in zip(crops, mattes, strict=True)]
    mixtures = fit_controls(model, people[1::2], weights)
    found, *_ = measure_controls(model, people[::2], weights, mixtures)
    if table:
        write_text(table, found.to_csv(index=False, float_format="%.4g"))
    print(found.round(3).to_string(index=False))
    print("stored:", ", ".join(store_controls(model, found, mixtures)) or "none", flush=True)


if __name__ == "__main__":
    run(main)
