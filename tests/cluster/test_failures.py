"""What is said at the end of a run in which jobs failed."""

import re

import pytest

from reenact.cluster.failures import Failure, Target, failure_table, read_failures, reason, report_what_is_there

SNAKEMAKE = """
Error in rule decode:
    message: None
    jobid: 5
    log: logs/decode/broken.log (check log file(s) for error details)
[Sun Nov 29 11:43:15 2026]
Error in rule crop:
    jobid: 6
    log: logs/crop/patient.log, logs/slurm/rule_crop/7.log (check log file(s) for error details)
    jobs:
        rule render:
            log: logs/render/anna/song.log (check log file(s) for error details)
Error in rule crop:
    log: logs/crop/patient.log (check log file(s) for error details)
"""
STARTS = "launch: 2026-11-29 11:43:10 decode: starts on n1, GPUs: none\n"
FAILED = "launch: 2026-11-29 11:43:15 decode: failed with status 1, after 5 s\n"
FINISHED = "launch: 2026-11-29 11:43:15 decode: finished, after 5 s\n"


@pytest.fixture
def run(tmp_path, monkeypatch):
    """The folder of a run: one job failed, one failed and then succeeded, one has no log."""
    monkeypatch.chdir(tmp_path)
    for name in ("decode", "crop"):
        (tmp_path / "logs" / name).mkdir(parents=True)
    (tmp_path / "logs" / "decode" / "broken.log").write_text(f"{STARTS}error: clip.mp4: no video\n{FAILED}")
    (tmp_path / "logs" / "crop" / "patient.log").write_text(f"{STARTS}{FAILED}{STARTS}{FINISHED}")
    (tmp_path / "snakemake.log").write_text(SNAKEMAKE)
    return tmp_path


def test_failed_jobs_are_those_that_did_not_succeed_later(run):
    assert read_failures([run / "snakemake.log"]) == [
        Failure("decode", "broken", "clip.mp4: no video"),
        Failure("render", "anna/song", "it left no log"),
    ]


@pytest.mark.parametrize(
    ("printed", "why"),
    [
        ("error: 2 problems:\n  - crop.size\n  - crop.scale\n", "2 problems: - crop.size - crop.scale"),
        ("error: the first try\n" + FAILED + STARTS + "error: the second\n", "the second"),
        ("Traceback:\n  ...\nKeyError: 'x'\n\n", "failed with status 1: KeyError: 'x'"),
        ("", "failed with status 1"),
    ],
)
def test_the_reason_is_the_last_error(printed, why):
    assert reason(STARTS + printed + FAILED) == why


def test_the_table_says_what_is_missing_and_why(run):
    (run / "anna").touch()
    targets = [
        Target("avatar anna", ["anna"], ["anna", "song"]),
        Target("avatar ben", ["ben"], ["ben", "song"]),
        *(Target(f"video ben/{number}", [f"ben{number}"], ["ben", "song", f"{number}"]) for number in range(7)),
        Target("video anna/talk", ["talk"], ["anna", "song", "talk"]),
        Target("avatar not asked for", ["eve"], ["eve", "song"]),
    ]
    failures = [
        Failure("crop", "ben", "ben.mp4: no face found. " + "Nobody is to be seen in any of its frames. " * 2),
        Failure("crop", "talk", "talk.mp4: no face found"),
        Failure("select", "dan", "disk full"),
    ]
    table = failure_table(failures, targets, ["anna", "ben", "dan", "song", "talk", *map(str, range(7))])
    rows = [[cell.strip() for cell in re.split(r" {2,}", line)] for line in table.splitlines()]
    assert rows[0] == ["not built", "failed job", "why"]
    assert rows[2:] == [
        ["avatar ben", "crop/ben", "ben.mp4: no face found. Nobody is to be seen in any of its frames."],
        ["video ben/0", "Nobody is to be seen in any of its frames."],
        *([f"video ben/{number}"] for number in (1, 2, 3)),
        ["and 3 more"],
        ["video anna/talk", "crop/talk", "talk.mp4: no face found"],
        ["nothing, but what was there is old", "select/dan", "disk full"],
    ]


def test_a_job_about_no_clip_keeps_everything_from_being_built(run):
    targets = [Target("avatar anna", ["anna"], ["anna"]), Target("avatar ben", ["ben"], ["ben"])]
    table = failure_table([Failure("meta", "demo", "out of memory")], targets, ["anna", "ben"])
    assert "avatar anna  meta/demo   out of memory" in table and "avatar ben" in table


def test_no_page_is_made_of_nothing(run):
    assert report_what_is_there(["gone.csv"], [], run / "page.html").endswith("not made, there is nothing to show")
