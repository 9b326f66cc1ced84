"""Write docs/settings.md and docs/config.schema.json anew from the schema of the settings."""

from pathlib import Path

from reenact.runtime.cli import command, run
from reenact.runtime.files import write_text
from reenact.settings.reference import reference_text, schema_text


@command(__doc__)
def main() -> None:
    write_text(Path("docs/settings.md"), reference_text())
    write_text(Path("docs/config.schema.json"), schema_text())


if __name__ == "__main__":
    run(main)
