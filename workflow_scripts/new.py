"""Make a project: a folder with a config.yaml of a few lines, and folders for photos and videos."""

from pathlib import Path

import click

from reenact.runtime.cli import FILE, command, run


@command(__doc__)
@click.argument("folder", type=FILE)
def main(folder: Path) -> None:
    from reenact.project.folder import Project

    Project.create(folder)
    print(f"{folder}: a project. In it:")
    print("  reenact add NAME photos/NAME.jpg         a person: a photo, a folder of photos, or a video")
    print("  reenact add NAME videos/NAME.mp4 --driver   a video that avatars follow")
    print("  reenact build                            makes the avatars and videos")


if __name__ == "__main__":
    run(main)
