"""A running studio, and a client of its API that sends exactly what it is told to."""

import http.client
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass
class Studio:
    """A running studio, and a client that has the token."""

    folder: Path
    port: int
    token: str
    address: str = field(init=False)

    def __post_init__(self) -> None:
        self.address = f"http://127.0.0.1:{self.port}"

    def ask(
        self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None, token: bool = True
    ) -> tuple[int, dict[str, str], bytes]:
        """Status, headers and body of an answer; the path is sent as it is, and a dict as JSON."""
        sent = dict(headers or {})
        if token:
            sent.setdefault("Authorization", f"Bearer {self.token}")
        if isinstance(body, dict | list):
            body, sent["Content-Type"] = json.dumps(body), "application/json"
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request(method, path, body, sent)
            answer = connection.getresponse()
            return answer.status, {key.lower(): value for key, value in answer.getheaders()}, answer.read()
        finally:
            connection.close()

    def json(self, method: str, path: str, body: Any = None) -> Any:
        """What the API answers, which must not be a refusal."""
        status, _, text = self.ask(method, path, body)
        assert status < 300, (status, text)
        return json.loads(text) if text else None

    def error(self, method: str, path: str, body: Any = None) -> tuple[int, str]:
        """Status and sentence of a refusal."""
        status, _, text = self.ask(method, path, body)
        return status, json.loads(text)["error"]

    def page(self, path: str) -> str:
        """A page, which must be there."""
        status, headers, text = self.ask("GET", path)
        assert status == 200 and headers["content-type"].startswith("text/html"), (status, text)
        return text.decode()

    def upload(self, path: Path) -> str:
        """Send a file; its id."""
        return self.json("POST", "/api/media", path.read_bytes())["id"]
