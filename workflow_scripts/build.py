"""Build what is new in a project: avatars, videos and the report.

ARGUMENTS are Snakemake's: files or rules to build in place of everything, and options, such as --cores 4,
--profile slurm (docs/cluster.md), --config 'render={height: 512}' or -n, which only says what would be built.

The build goes on when the terminal is closed; `reenact build` shows it again, and Ctrl+C stops it. What was stopped, or
killed, goes on with the same command.
"""

from pathlib import Path

import click

from reenact.runtime.cli import FILE, StageCommand, run

DRY = {"-n", "--dry-run", "--dryrun"}
ASKS = {"-l", "--list", "--list-rules", "--list-target-rules", "--lint", "--touch", "-t", "--dag", "--rulegraph"}
ASKS |= {"--filegraph", "--summary", "-S", "--detailed-summary", "-D", "--unlock", "--report", "--list-changes"}
ASKS |= {"--cleanup-metadata", "--delete-all-output", "--conda-create-envs-only", "--conda-cleanup-envs"}
"""Options of Snakemake with which it builds nothing that would have to be shown."""


@click.command(cls=StageCommand, help=__doc__, context_settings={"ignore_unknown_options": True})
@click.option("--project", "folder", type=FILE, default=Path(), help="Folder of the project; by default this one.")
@click.option("--verbose", is_flag=True, help="Show what Snakemake prints, in place of bars.")
@click.option("--stop", is_flag=True, help="Stop the build that runs, as Ctrl+C does where it is shown.")
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def main(*, folder: Path, verbose: bool, stop: bool, arguments: tuple[str, ...]) -> None:
    from reenact.project.build import Build
    from reenact.project.display import follow
    from reenact.project.folder import Project
    from reenact.project.plan import ask_snakemake, show_plan
    from reenact.runtime.errors import UserError

    project = Project.open(folder)
    said = {argument.partition("=")[0] for argument in arguments}
    running = Build.current(project)
    if running and running.state().status != "running":
        running = None
    if stop:
        if not running:
            raise UserError(f"{project.folder}: no build is running")
        running.stop()
        raise SystemExit(follow(running))
    if said & DRY and not verbose:
        raise SystemExit(show_plan(project, arguments))
    if said & (ASKS | DRY):
        raise SystemExit(ask_snakemake(project, arguments))
    if running and arguments:
        raise UserError(f"{project.folder}: a build is running already; `reenact build` shows it, --stop stops it")
    if running:
        print("A build is running already; this shows it, and Ctrl+C stops it.")
    raise SystemExit(follow(running or Build.start(project, options=arguments), verbose))


if __name__ == "__main__":
    run(main)
