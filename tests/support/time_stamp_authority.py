"""A time stamp authority (RFC 3161) on this machine, for tests: its answers are made by `openssl ts`."""

import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

CONFIG = """
[tsa]
default_tsa = here
[here]
serial = {folder}/serial
signer_cert = {folder}/tsa.pem
signer_key = {folder}/tsa.key
signer_digest = sha256
default_policy = 1.2.3.4
digests = sha256, sha384, sha512
ess_cert_id_alg = sha256
certs = {folder}/root.pem
[authority]
basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign
[stamps]
basicConstraints = CA:FALSE
keyUsage = critical, digitalSignature
extendedKeyUsage = critical, timeStamping
"""


def openssl(*arguments: object) -> None:
    """Run it, or raise."""
    subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True)


def make_certificates(folder: Path) -> None:
    """A root and a certificate for time stamps, and the configuration that names them."""
    config = folder / "openssl.cnf"
    config.write_text(CONFIG.format(folder=folder))
    (folder / "serial").write_text("01\n")
    for name, subject in (("root", "/O=Test/CN=Root"), ("tsa", "/O=Test/CN=Time stamps")):
        key, request = folder / f"{name}.key", folder / f"{name}.csr"
        openssl("req", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", request, "-subj", subject)
    common = ("x509", "-req", "-days", 2, "-extfile", config)
    root, key = folder / "root.pem", folder / "root.key"
    openssl(*common, "-in", folder / "root.csr", "-signkey", key, "-extensions", "authority", "-out", root)
    signer = ("-CA", root, "-CAkey", key, "-CAcreateserial", "-extensions", "stamps")
    openssl(*common, "-in", folder / "tsa.csr", *signer, "-out", folder / "tsa.pem")


@contextmanager
def time_stamp_authority(folder: Path) -> Iterator[str]:
    """The address at which it answers until the end of the block."""
    make_certificates(folder)

    class Answers(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            (folder / "query").write_bytes(self.rfile.read(int(self.headers["Content-Length"])))
            files = ("-queryfile", folder / "query", "-out", folder / "reply")
            openssl("ts", "-reply", "-config", folder / "openssl.cnf", "-section", "here", *files)
            answer = (folder / "reply").read_bytes()
            self.send_response(200)
            self.send_header("Content-Type", "application/timestamp-reply")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *arguments: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        server.server_close()
