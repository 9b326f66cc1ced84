"""A first avatar at once is a rendering like any other, and leaves nothing but its file."""

import tempfile

import av
from click.testing import CliRunner
from demo_media import find_media

from reenact.__main__ import group
from reenact.provenance.stamp import watermark_key
from reenact.provenance.verify import verify
from reenact.provenance.watermark import Watermark
from reenact.settings.mark import MarkSettings


def test_a_photo_follows_a_driver_marked_and_without_a_trace(tmp_path, monkeypatch):
    (tmp_path / "temporary").mkdir()
    (tmp_path / "here").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    monkeypatch.chdir(tmp_path / "here")
    photo, driver = find_media("astronaut.png"), find_media("single_face.mp4")
    arguments = ["try", str(photo), str(driver), "--seconds", "0.2", "--beside", "--consent", "public-domain"]
    done = CliRunner().invoke(group, [*arguments, "--device", "cpu"], standalone_mode=False, catch_exceptions=False)
    assert "astronaut.single_face.mp4: done" in done.output
    assert [path.name for path in (tmp_path / "here").iterdir()] == ["astronaut.single_face.mp4"]
    assert not list((tmp_path / "temporary").iterdir())
    video = tmp_path / "here" / "astronaut.single_face.mp4"
    with av.open(str(video)) as opened:
        frames = list(opened.decode(video=0))
    assert (frames[0].width, frames[0].height) == (3 * 256, 256) and 4 <= len(frames) <= 8
    verdict = verify(video, [Watermark(watermark_key(MarkSettings()))], "")
    assert verdict.verdict == "intact" and "public-domain" in str(verdict.as_json())
