"""Starting the server: the address, the token, and who may reach it."""

import ipaddress
import os
import socket
import sys
import webbrowser
from importlib import import_module
from pathlib import Path
from threading import Timer

from reenact.runtime.errors import UserError

PORT = 8765
TOKEN = Path(".reenact/token")
"""Of a project, so that browsers still know it after the server was started again; only its owner may read the file."""


def serve(folder: Path, host: str = "127.0.0.1", port: int = PORT, browser: bool = True) -> None:
    """Show a project in the browser, until Ctrl+C.

    Args:
        folder: of the project; it need not be one yet.
        host: address to listen at; only this machine reaches 127.0.0.1.
        port: the first that is free of this and the next ten; 0 = any.
        browser: open one, where this machine has it.

    Raises:
        UserError: the extra is not installed, no port is free, or the folder cannot be written.
    """
    try:
        import uvicorn

        from reenact.studio.app import create_app
    except ImportError as error:
        raise UserError(f"reenact studio needs more packages ({error.name}); pip install 'reenact[studio]'") from None
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder}: is a file; name the folder of a project, which need not exist")
    listener = listen_at(host, port)
    token, outside, folder = project_token(folder), not _is_loopback(host), folder.absolute()
    os.chdir(folder)  # files that settings name are looked for from there
    names = ("127.0.0.1", "localhost", "::1", *((host, socket.gethostname()) if outside else ()))
    app = create_app(folder, token, names, addresses=outside)
    address = f"http://{_shown(host)}:{listener.getsockname()[1]}/?token={token}"
    print(f"reenact studio of {folder}\n\n    {address}\n\nCtrl+C ends it; a build goes on.", flush=True)
    if outside:
        print(
            f"Whoever has this address can use it, and what is sent can be read on the way to {host}: over networks "
            "that are not yours, leave out --host and forward the port with ssh -L.",
            file=sys.stderr,
        )
    later = [Timer(0.5, webbrowser.open, [address])] if browser else []
    for timer in [*later, Timer(2.0, import_module, ["reenact.studio.stills"])]:  # torch takes seconds
        timer.daemon = True
        timer.start()
    config = uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=1, server_header=False, ws="none")
    uvicorn.Server(config).run(sockets=[listener])


def project_token(folder: Path) -> str:
    """The token of a project, made once.

    Raises:
        UserError: the folder cannot be written.
    """
    from reenact.studio.guard import new_token

    path = folder / TOKEN
    try:
        if path.is_file() and len(token := path.read_text(encoding="utf-8").strip()) >= 32:
            return token
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
            file.write(token := new_token())
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error.strerror or error})") from None
    return token


def listen_at(host: str, port: int) -> socket.socket:
    """A socket at the first free port."""
    error: OSError | None = None
    for number in [port] if port == 0 else range(port, port + 10):
        try:
            family = socket.getaddrinfo(host, number, type=socket.SOCK_STREAM)[0][0]
            return socket.create_server((host, number), family=family)
        except OSError as refused:
            error = refused
    raise UserError(f"--port: {port} and the next nine cannot be listened at on {host} ({error}); give another")


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _shown(host: str) -> str:
    """How a browser writes it; 0.0.0.0 is every address of this machine."""
    if host in ("0.0.0.0", "::"):
        return socket.gethostname()
    return f"[{host}]" if ":" in host else host
