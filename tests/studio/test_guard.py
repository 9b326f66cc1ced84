"""Hostile requests: each is refused with its status, and nothing is written."""

import socket
import struct
import sys
import zipfile
import zlib
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import pytest

from reenact.project.folder import Project
from reenact.runtime.errors import UserError
from reenact.studio import server
from reenact.studio.guard import MAX_UPLOAD, cookie_name


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def png_bomb() -> bytes:
    """A PNG that says it has 2500 million pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 50_000, 50_000, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(b"\0" * 5000))
        + chunk(b"IEND", b"")
    )


def zip_bomb() -> bytes:
    data = BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a", b"\0" * 3_000_000)
    return data.getvalue()


NEW = {"name": "anna", "media": ["0123456789abcdef"], "consent": "own"}
JSON = {"Content-Type": "application/json"}
NO_TOKEN = [("GET", "/"), ("GET", "/people"), ("GET", "/api/project"), ("GET", "/api/events"), ("POST", "/api/project")]
NO_TOKEN += [("GET", "/static/studio.css"), ("GET", "/report/page.html"), ("GET", "/api/openapi.json"), ("TRACE", "/")]
WRONG_TOKEN = [
    ("/api/project?token=wrong", {}),
    ("/api/project?token=", {}),
    ("/api/project", {"Authorization": "Bearer wrong"}),
    ("/api/project", {"Authorization": "Bearer "}),
    ("/api/project", {"Cookie": "reenact-studio-{port}=wrong"}),
    ("/api/project", {"Cookie": "reenact-studio-1={token}"}),
]
HOSTS = ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example:{port}", "8.8.8.8", "127.0.0.1:{port}@evil"]
HOSTS += ["[::ffff:1.2.3.4]", "127.0.0.1:x"]
ORIGINS = [
    {"Origin": "https://evil.example"},
    {"Origin": "null"},
    {"Origin": "http://127.0.0.1:1"},
    {"Origin": "http://127.0.0.1:{port}.evil.example"},
    {"Origin": "file://"},
    {},
    {"Origin": "http://127.0.0.1:{port}", "Sec-Fetch-Site": "cross-site"},
    {"Origin": "http://127.0.0.1:{port}", "Sec-Fetch-Site": "same-site"},
]
PATHS = [
    ("GET", "/static/../app.py", None, 404),
    ("GET", "/static/%2e%2e/app.py", None, 404),
    ("GET", "/static/..%2f..%2f..%2fconfig.yaml", None, 404),
    ("GET", "/static//etc/passwd", None, 404),
    ("GET", "/api/renders/..%2f..%2fx/speech/avatar", None, 404),
    ("GET", "/api/renders/anna/speech/..%2f..%2f..%2fconfig.yaml", None, 404),
    ("GET", "/api/avatars/..%2f..%2fconfig.yaml%00/model", None, 404),
    ("GET", "/people/..%2f..%2f..%2fetc%2fpasswd", None, 404),
    ("GET", "/parts/faces/%2e%2e", None, 404),
    ("GET", "/parts/videos?identity=../../etc&driver=x", None, 422),
    ("GET", "/api/builds/current/logs/-1", None, 404),
    ("GET", "/api/builds/current/logs/..%2f..%2fconfig.yaml", None, 404),
    ("DELETE", "/api/media/..%2f..%2fconfig.yaml", None, 404),
    ("DELETE", "/api/clips/..%2fconfig.yaml", None, 404),
    ("POST", "/api/identities", NEW | {"name": "../../x"}, 422),
    ("POST", "/api/identities", NEW | {"name": "a/b"}, 422),
    ("POST", "/api/identities", NEW | {"name": ""}, 422),
    ("POST", "/api/identities", NEW | {"name": "a" * 65}, 422),
    ("POST", "/api/identities", NEW | {"name": "x\n"}, 422),
    ("POST", "/api/identities", NEW | {"media": ["../../config"]}, 422),
    ("POST", "/api/identities", NEW | {"media": []}, 422),
    ("POST", "/api/identities", NEW, 422),
    ("POST", "/api/identities", {**NEW, "consent": "surely"}, 422),
    ("POST", "/api/drivers", {"name": 5, "media": "x"}, 422),
    ("POST", "/api/builds", {"targets": ["../../etc/passwd"]}, 422),
    ("POST", "/api/builds", {"targets": ["results/../config.yaml"]}, 422),
    ("POST", "/api/builds", {"targets": ["--delete-all-output"]}, 422),
    ("POST", "/api/edits", {"identity": "../x", "driver": "y"}, 422),
    ("PUT", "/api/clips/config/face", {"face": "largest"}, 404),
    ("PUT", "/api/project", None, 405),
    ("POST", "/api/identities", "not json", 422),
]
FILES = [
    (zip_bomb(), 415),
    (png_bomb(), 413),
    (b"#EXTM3U\n#EXT-X-STREAM-INF:\nfile:///etc/passwd\n", 415),
    (b"ffconcat version 1.0\nfile /etc/passwd\n", 415),
    (b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>", 415),
    (b"<!doctype html><script>alert(1)</script>", 415),
    (b"\x7fELF" + b"\0" * 2000, 415),
    (b"", 415),
    (b"\x89PNG\r\n\x1a\n" + b"\0" * 500, 422),
    (b"\xff\xd8\xff\xe0" + b"\0" * 500, 422),
    (b"\0\0\0\x20ftypisom" + b"\0" * 2000, 422),
    (b"\x1a\x45\xdf\xa3" + b"\0" * 2000, 422),
]


@pytest.fixture
def unharmed(studio):
    """The studio, whose project must be the same after the test as before."""
    before = tree(studio.folder)
    yield studio
    assert tree(studio.folder) == before


def test_without_the_token_nothing_is_told(unharmed) -> None:
    for method, path in NO_TOKEN:
        assert unharmed.ask(method, path, token=False)[0] == 401, path
    for path, headers in WRONG_TOKEN:
        filled = {key: value.format(port=unharmed.port, token=unharmed.token) for key, value in headers.items()}
        assert unharmed.ask("GET", path, headers=filled, token=False)[0] == 401, (path, headers)


def test_another_name_of_this_machine_and_other_pages(unharmed) -> None:
    for host in HOSTS:
        status, _, text = unharmed.ask("GET", "/api/project", headers={"Host": host.format(port=unharmed.port)})
        assert status == 421, (host, text)
    cookie = {"Cookie": f"{cookie_name(f'x:{unharmed.port}')}={unharmed.token}"}
    for headers in ORIGINS:
        filled = {key: value.format(port=unharmed.port) for key, value in headers.items()}
        status, _, text = unharmed.ask("POST", "/api/builds", {}, headers=cookie | filled, token=False)
        assert status == 403, (headers, text)
    seen = unharmed.ask("GET", "/api/project", headers=cookie | {"Sec-Fetch-Site": "cross-site"}, token=False)
    assert seen[0] == 403, "another page's script reads nothing either"


def test_paths_and_forms(unharmed) -> None:
    for method, path, body, expected in PATHS:
        headers = JSON if isinstance(body, str) else {}
        status, _, text = unharmed.ask(method, path, body, headers=headers)
        assert status == expected, (method, path, body, status, text)
        assert b"root:" not in text and b"identities:" not in text


def test_files_are_told_by_their_content(unharmed) -> None:
    for data, expected in FILES:
        status, _, text = unharmed.ask("POST", "/api/media", data)
        assert status == expected and b"error" in text, (data[:20], status, text)


def raw(studio, request: str, body: bytes = b"") -> bytes:
    """The beginning of an answer to what a client would not send by itself."""
    with socket.create_connection(("127.0.0.1", studio.port), timeout=20) as connection:
        head = f"{request}\r\nAuthorization: Bearer {studio.token}\r\n\r\n"
        connection.sendall(head.encode() + body)
        connection.settimeout(20)
        return connection.recv(300)


def test_too_much(unharmed) -> None:
    host = f"Host: 127.0.0.1:{unharmed.port}"
    huge = raw(unharmed, f"POST /api/media HTTP/1.1\r\n{host}\r\nContent-Length: {MAX_UPLOAD + 1}")
    assert huge.startswith(b"HTTP/1.1 413")
    form = raw(unharmed, f"POST /api/builds HTTP/1.1\r\n{host}\r\nContent-Length: 1100000", b"[" * 1000)
    assert form.startswith(b"HTTP/1.1 413")
    chunks = b"".join(b"40000\r\n" + b" " * 0x40000 + b"\r\n" for _ in range(5)) + b"0\r\n\r\n"
    endless = raw(unharmed, f"POST /api/builds HTTP/1.1\r\n{host}\r\nTransfer-Encoding: chunked", chunks)
    assert endless.startswith(b"HTTP/1.1 413"), "a body without a stated length is counted"
    two = raw(unharmed, f"GET /api/project HTTP/1.1\r\n{host}\r\nHost: evil.example")
    assert two.split()[1] in (b"400", b"421")
    upgrade = raw(unharmed, f"GET /api/events HTTP/1.1\r\n{host}\r\nOrigin: http://evil.example\r\nUpgrade: websocket")
    assert upgrade.startswith(b"HTTP/1.1 403")


def test_how_many_there_are() -> None:
    groups = (NO_TOKEN, WRONG_TOKEN, HOSTS, ORIGINS, PATHS, FILES)
    assert sum(map(len, groups)) >= 50


def test_the_address_with_the_token_gives_a_cookie(studio) -> None:
    status, headers, _ = studio.ask("GET", f"/people?token={studio.token}", token=False)
    assert status == 303 and headers["location"] == "/people"
    cookie = headers["set-cookie"]
    assert "HttpOnly" in cookie and "SameSite=strict" in cookie and f"reenact-studio-{studio.port}=" in cookie
    elsewhere = studio.ask("GET", f"//evil.example/?token={studio.token}", token=False)[1].get("location", "/")
    assert not elsewhere.startswith("//")
    answer = studio.ask("GET", "/people", headers={"Cookie": cookie.split(";")[0]}, token=False)
    assert answer[0] == 200 and "script-src 'self'" in answer[1]["content-security-policy"]
    assert answer[1]["x-content-type-options"] == "nosniff" and answer[1]["referrer-policy"] == "no-referrer"
    origin = {"Cookie": cookie.split(";")[0], "Origin": studio.address}
    assert studio.ask("POST", "/api/builds", {}, headers=origin, token=False)[0] == 422, "nobody to build"


def test_what_is_missing_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="is a file; name the folder of a project"):
        server.serve(tmp_path / "file", browser=False)
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    with pytest.raises(UserError, match=r"pip install 'reenact\[studio\]'"):
        server.serve(tmp_path, browser=False)
    assert not list(tmp_path.glob(".*"))


def test_the_token_stays_and_is_the_owners(tmp_path: Path, start: Callable) -> None:
    Project.create(tmp_path)
    token = server.project_token(tmp_path)
    assert server.project_token(tmp_path) == token and len(token) >= 32
    assert (tmp_path / server.TOKEN).stat().st_mode & 0o077 == 0
