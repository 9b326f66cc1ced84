"""Write one self-contained HTML page about everything that was made."""

from typing import Any

import click

from reenact.runtime.cli import FILE, command, run
from reenact.runtime.startup import quick_imports
from reenact.settings.report import ReportSettings


@command(__doc__, ReportSettings)
@click.option("--results", type=FILE, default="results", show_default=True, help="Results folder.")
@click.option(
    "--manifest",
    type=FILE,
    required=True,
    help="JSON file: config, the settings of a run, and inputs, which of its files and folders the page shows.",
)
@click.option("--page", type=FILE, required=True, help="HTML file to write.")
def main(settings: ReportSettings, **arguments: Any) -> None:
    with quick_imports():
        from reenact.stages.report import build_report

    build_report(**arguments, settings=settings)


if __name__ == "__main__":
    run(main)
