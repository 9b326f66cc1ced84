"""Add a person, or a video that avatars follow, to a project's config.yaml."""

from pathlib import Path
from typing import get_args

import click

from reenact.runtime.cli import FILE, command, run
from reenact.settings.mark import Consent


@command(__doc__)
@click.argument("name")
@click.argument("media", type=FILE)
@click.option("--identity/--driver", "is_identity", default=True, help="A person (the default), or a driver.")
@click.option("--consent", type=click.Choice(get_args(Consent)), help="Why the person's face may be used.")
@click.option("--consent-note", help="A note about it, which everybody can read in the videos.")
@click.option("--holdout", type=float, help="Last fraction of a person's video that is kept for judging, 0 to 0.8.")
@click.option("--start", help='Of a driver: begin here: seconds, "1:30", or "60%" of the duration.')
@click.option("--end", help="Of a driver: end here, likewise.")
@click.option("--project", "folder", type=FILE, default=Path(), help="Folder of the project; by default this one.")
def main(
    *,
    name: str,
    media: Path,
    is_identity: bool,
    consent: str | None,
    consent_note: str | None,
    holdout: float | None,
    start: str | None,
    end: str | None,
    folder: Path,
) -> None:
    from reenact.project.folder import Project

    project = Project.open(folder)
    media = media.absolute()  # the command line's paths begin where it is typed
    of_other = {"start": start, "end": end} if is_identity else {"consent": consent, "holdout": holdout}
    if wrong := [option for option, value in of_other.items() if value is not None]:
        raise click.UsageError(f"--{wrong[0]} is for {'drivers' if is_identity else 'persons'}")
    if is_identity:
        project.add_identity(name, media, consent=consent, consent_note=consent_note, holdout=holdout)
        print(f"{name} is a person of this project; `reenact build` makes the avatar")
        if consent is None:
            print("no --consent is stated: the videos will say that nobody said why this face may be used")
    else:
        project.add_driver(name, media, start=_number(start), end=_number(end))
        print(f"{name} is a driver of this project; `reenact build` renders every person with it")


def _number(text: str | None) -> float | str | None:
    """Seconds as a number, other times as they are."""
    try:
        return float(text) if text is not None else None
    except ValueError:
        return text


if __name__ == "__main__":
    run(main)
