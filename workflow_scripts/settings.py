"""Print every setting of config.yaml, or of one section: what it means, its default, what is allowed."""

import click

from reenact.runtime.cli import command, run
from reenact.runtime.errors import UserError
from reenact.settings.reference import reference_text


@command(__doc__)
@click.argument("section", required=False)
def main(section: str | None) -> None:
    introduction, *sections = reference_text().split("\n## ")
    names = [text.split()[0] for text in sections]
    if section and section not in names:
        raise UserError(f"{section!r} is no section of config.yaml; there are: {', '.join(names)}")
    shown = [f"## {text.rstrip()}" for name, text in zip(names, sections, strict=True) if section in (None, name)]
    click.echo_via_pager("\n\n".join(shown if section else [introduction.rstrip(), *shown]) + "\n")


if __name__ == "__main__":
    run(main)
