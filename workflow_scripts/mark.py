"""Sign what was rendered of one pair, or an avatar: Content Credentials say how it was made."""

from pathlib import Path
from typing import Any, get_args

import click

from reenact.runtime.cli import FILE, command, run
from reenact.runtime.startup import quick_imports
from reenact.settings.mark import Consent, MarkSettings
from reenact.settings.render import RenderSettings


@command(__doc__, MarkSettings, RenderSettings)
@click.option("--record", type=FILE, help="STEM.json of stage render; what it rendered lies beside it.")
@click.option("--stem", type=FILE, help="Path of the finished files without suffix.")
@click.option("--model", type=FILE, help="In place of --record: an avatar.")
@click.option("--meta-model", type=FILE, help="What the avatar was fine-tuned from.")
@click.option("--target", type=FILE, help="The finished avatar, to write.")
@click.option("--identity-media", type=FILE, required=True, help="File or folder that the person is seen in.")
@click.option("--driver-media", type=FILE, help="The driver's file.")
@click.option("--consent", type=click.Choice(get_args(Consent)), help="Why the person's face may be used.")
@click.option("--consent-note", default="", help="A note about it.")
@click.option("--identity", default="", help="What the person is called.")
@click.option("--driver", default="", help="What the driver is called.")
def main(
    settings: MarkSettings,
    render: RenderSettings,
    *,
    record: Path | None,
    stem: Path | None,
    model: Path | None,
    target: Path | None,
    **arguments: Any,
) -> None:
    with quick_imports():
        from reenact.stages.mark import Driver, Person, mark_model, mark_renders

    named = ("identity_media", "consent", "consent_note", "identity")
    person = Person(*(arguments[name] for name in named))
    if record and stem and arguments["driver_media"]:
        driver = Driver(arguments["driver_media"], arguments["driver"])
        mark_renders(record=record, stem=stem, identity=person, driver=driver, render=render, settings=settings)
    elif model and target:
        meta = arguments["meta_model"]
        mark_model(model=model, meta_model=meta, target=target, identity=person, settings=settings)
    else:
        raise click.UsageError("give --record, --stem and --driver-media, or --model and --target")


if __name__ == "__main__":
    run(main)
