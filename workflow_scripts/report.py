"""Write one self-contained HTML page about everything that was made."""

from pathlib import Path

from reenact.runtime.cli import StageParser, run
from reenact.settings.report import ReportSettings


def main() -> None:
    parser = StageParser(__doc__, ReportSettings)
    parser.add_argument("--results", type=Path, default=Path("results"), help="results folder (default: results)")
    parser.add_argument(
        "--inputs", type=Path, nargs="+", required=True, help="files and folders under it that the page shows"
    )
    parser.add_argument("--config", required=True, help="the settings that made them: YAML or JSON text")
    parser.add_argument("--page", type=Path, required=True, help="HTML file to write")
    arguments, (settings,) = parser.parse()

    from reenact.stages.report import build_report

    build_report(
        results=arguments.results,
        inputs=arguments.inputs,
        config=arguments.config,
        page=arguments.page,
        settings=settings,
    )


if __name__ == "__main__":
    run(main)
