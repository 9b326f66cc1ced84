"""Write config.yaml anew from the schema, with the values that it has, and docs/config.schema.json."""

from pathlib import Path

import yaml

from reenact.runtime.cli import command, run
from reenact.runtime.files import write_text
from reenact.settings.files import config_text, schema_text
from reenact.settings.workflow import load_config


@command(__doc__)
def main() -> None:
    path = Path("config.yaml")
    write_text(path, config_text(load_config(yaml.safe_load(path.read_text(encoding="utf-8")), str(path))))
    write_text(Path("docs/config.schema.json"), schema_text())


if __name__ == "__main__":
    run(main)
