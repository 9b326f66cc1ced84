"""How far a job is can be read by others, and only of the outermost loop."""

import io

from reenact.runtime.progress import VARIABLE, Progress, Reporter, progress, progress_file, read_progress


def test_a_loop_says_how_far_it_is(tmp_path, monkeypatch, capsys):
    file = progress_file(tmp_path / "anna.speech.log")
    monkeypatch.setenv(VARIABLE, str(file))
    monkeypatch.setattr("reenact.runtime.progress.FILE_INTERVAL", 0)
    assert read_progress(file) is None
    seen = []
    for outer in progress("ab", 2, "clips", unit="clip"):
        assert list(progress([1, 2, 3], 3, "frames")) == [1, 2, 3]
        seen.append((outer, read_progress(file)))
    assert [(outer, said.title, said.done, said.total, said.unit) for outer, said in seen] == [
        ("a", "clips", 0, 2, "clip"),
        ("b", "clips", 1, 2, "clip"),
    ]
    last = read_progress(file)
    assert last.fraction == 1 and last.rate > 0 and last.seconds_left == 0
    assert "clips" in capsys.readouterr().err and [path.name for path in tmp_path.iterdir()] == [file.name]


def test_nothing_is_written_where_nobody_asks_and_a_broken_file_is_nothing(tmp_path, monkeypatch):
    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.setattr("sys.stderr", io.StringIO())
    assert list(progress(range(3), 3, "frames")) == [0, 1, 2]
    (tmp_path / "x").write_text('{"title"')
    assert read_progress(tmp_path / "x") is None


def test_what_an_earlier_run_did_is_no_speed(tmp_path, monkeypatch):
    monkeypatch.setenv(VARIABLE, str(tmp_path / "x"))
    Reporter("meta", 100, "step", done=90)
    said = read_progress(tmp_path / "x")
    assert said == Progress("meta", 90, 100, "step", 0) and said.seconds_left is None and said.fraction == 0.9
