"""Show a project in the browser: people, the build, avatars, driving, verification.

FOLDER is a project, or becomes one on the first page; by default it is this folder. The address that is printed holds a
token; whoever has it may use the page. It is reached from this machine only, unless --host says otherwise.
"""

from pathlib import Path

import click

from reenact.runtime.cli import FILE, command, run


@command(__doc__)
@click.argument("folder", type=FILE, default=Path())
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen at; 0.0.0.0 = all of them.")
@click.option("--port", type=click.IntRange(0, 65_535), default=8765, show_default=True, help="0 = any that is free.")
@click.option("--browser/--no-browser", default=True, help="Open a browser.")
def main(folder: Path, host: str, port: int, browser: bool) -> None:
    from reenact.studio.server import serve

    serve(folder, host, port, browser)


if __name__ == "__main__":
    run(main)
