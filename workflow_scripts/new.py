"""Make a project: a folder with a config.yaml of a few lines, and folders for photos and videos."""

import shutil
from pathlib import Path

import click

from reenact.runtime.cli import FILE, command, run


@command(__doc__)
@click.argument("folder", type=FILE)
@click.option("--slurm", is_flag=True, help="With the profile for SLURM, whose first three lines are to be edited.")
def main(folder: Path, slurm: bool) -> None:
    from reenact.project.folder import Project
    from reenact.project.workflow import workflow_folder

    Project.create(folder)
    if slurm:
        shutil.copytree(workflow_folder() / "profiles" / "slurm", folder / "profiles" / "slurm", dirs_exist_ok=True)
    print(f"{folder}: a project. In it:")
    print("  reenact add NAME photos/NAME.jpg         a person: a photo, a folder of photos, or a video")
    print("  reenact add NAME videos/NAME.mp4 --driver   a video that avatars follow")
    print("  reenact build                            makes the avatars and videos")


if __name__ == "__main__":
    run(main)
