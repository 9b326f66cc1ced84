"""Downloads: whole, checked and readable by others, or one clear message."""

import hashlib
import stat
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from reenact.runtime import downloads
from reenact.runtime.downloads import download
from reenact.runtime.errors import UserError

DATA = bytes(range(256)) * 10_000
SHA256 = hashlib.sha256(DATA).hexdigest()


class Answers(BaseHTTPRequestHandler):
    """A server with one good file, one that ends too early, and one that never comes."""

    def do_GET(self):
        if self.path == "/moved":
            self.send_response(302)
            self.send_header("Location", "/file")
            self.end_headers()
            return
        if self.path not in ("/file", "/cut", "/silent"):
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(DATA)))
        self.end_headers()
        if self.path == "/silent":
            self.server.closing.wait(10)
        else:
            self.wfile.write(DATA if self.path == "/file" else DATA[:1000])

    def log_message(self, *_):
        """Keep the test's output clean."""


@pytest.fixture
def address(monkeypatch):
    monkeypatch.setattr(downloads, "TIMEOUT", 0.5)
    with ThreadingHTTPServer(("127.0.0.1", 0), Answers) as server:
        server.closing = threading.Event()
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.closing.set()
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("path", ["/file", "/moved"])
def test_writes_the_file_for_everybody_to_read(address, tmp_path, path):
    other = tmp_path / "other"
    other.touch()
    download(address + path, SHA256.upper(), tmp_path / "new" / "file")
    assert (tmp_path / "new" / "file").read_bytes() == DATA
    assert stat.S_IMODE((tmp_path / "new" / "file").stat().st_mode) == stat.S_IMODE(other.stat().st_mode)


@pytest.mark.parametrize(
    "path, reason",
    [
        ("/missing", r"cannot be downloaded .*404"),
        ("/cut", r"cannot be downloaded .*1000 bytes read"),
        ("/silent", r"cannot be downloaded .*timed out"),
        ("/file", "is not the expected file: SHA-256 expected " + "0" * 64 + f", found {SHA256}"),
    ],
)
def test_says_what_is_wrong_and_keeps_nothing(address, tmp_path, path, reason):
    target = tmp_path / "file"
    target.write_bytes(b"of before")
    with pytest.raises(UserError, match=f"{address}{path}.*{reason}"):
        download(address + path, "0" * 64, target)
    assert [(file.name, file.read_bytes()) for file in tmp_path.iterdir()] == [("file", b"of before")]


def test_says_so_where_nobody_answers(tmp_path):
    with pytest.raises(UserError, match=r"http://127\.0\.0\.1:9/file: cannot be downloaded .*https_proxy"):
        download("http://127.0.0.1:9/file", SHA256, tmp_path / "file")
    with pytest.raises(UserError, match=r"file:///: cannot be downloaded"):
        download("file:///", SHA256, tmp_path / "file")
