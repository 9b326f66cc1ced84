"""Who may talk to the server: the token, and the headers by which a browser tells whose page asks.

A page of another site can make a browser send requests here, and a name server can make a name of its own point here
(DNS rebinding). So a request must name this machine (Host), must not come from another page (Origin, Sec-Fetch-Site),
and must know the token: as a cookie, which the address with the token sets, or as `Authorization: Bearer TOKEN`.
"""

import ipaddress
import secrets
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qsl, urlencode, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

LOOPBACK = ("127.0.0.1", "localhost", "::1")
MAX_BODY = 1_000_000
"""Bytes of a request that is no upload."""
MAX_UPLOAD = 4_000_000_000
"""Bytes of one uploaded file."""
UPLOADS = ("/api/media", "/api/verify")
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; media-src 'self' blob:; "
    "connect-src 'self'; form-action 'self'; frame-src 'self'; frame-ancestors 'none'; base-uri 'none'"
)
REPORT_POLICY = (
    "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:; media-src data:; frame-ancestors 'self'"
)
"""Of the report, which is one file with all that it shows inside, and runs nothing."""
TOO_LARGE = "This is more than {:,.0f} MB, the most that is taken."
NO_TOKEN = (
    "This page needs the address with its token, which <code>reenact studio</code> printed when it started. "
    "Open that address."
)


class Guard:
    """ASGI middleware that answers what may not pass, and limits how much a request may send.

    Args:
        app: what is behind it.
        token: what a client must know.
        hosts: names of this machine that Host may have, beside addresses in numbers where `addresses` allows them.
        addresses: whether any address in numbers is allowed: a rebound name is never one.
    """

    def __init__(self, app: ASGIApp, *, token: str, hosts: tuple[str, ...] = LOOPBACK, addresses: bool = False) -> None:
        self._app, self._token, self._addresses = app, token, addresses
        self._hosts = {host.lower() for host in hosts}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":  # no websockets here
            await send({"type": "websocket.close", "code": 1008})
            return
        headers = Headers(scope=scope)
        answer = self._refusal(scope, headers)
        if answer is not None:
            _seal(answer.headers, POLICY)
            await answer(scope, receive, send)
            return
        most = MAX_UPLOAD if scope["path"] in UPLOADS else MAX_BODY
        if _length(headers) > most:
            await _too_large(most)(scope, receive, send)
            return
        await self._pass_on(scope, receive, send, most)

    async def _pass_on(self, scope: Scope, receive: Receive, send: Send, most: int) -> None:
        """Count what comes (a body may have no length in its header), and seal what goes."""
        seen = 0

        async def counted() -> Message:
            """The next piece of the request."""
            nonlocal seen
            message = await receive()
            seen += len(message.get("body", b""))
            if seen > most:
                raise TooLarge(most)
            return message

        async def sealed(message: Message) -> None:
            """A piece of the answer, with headers that say what the page may load."""
            if message["type"] == "http.response.start":
                _seal(MutableHeaders(scope=message), POLICY)
            await send(message)

        await self._app(scope, counted, sealed)

    def _refusal(self, scope: Scope, headers: Headers) -> Response | None:
        """The answer to a request that may not pass; None if it may."""
        host = headers.get("host", "")
        if len(headers.getlist("host")) != 1 or not self._is_here(host):
            return _refused(421, f"Host {host!r} is not this machine; open the address that reenact studio printed.")
        if (origin := headers.get("origin")) is not None and urlsplit(origin).netloc.lower() != host.lower():
            return _refused(403, f"A page of {origin!r} may not ask here.")
        site, mode = headers.get("sec-fetch-site", "none"), headers.get("sec-fetch-mode")
        if site not in ("none", "same-origin") and not (mode == "navigate" and scope["method"] == "GET"):
            return _refused(403, "A page of another site may not ask here.")
        bearer = headers.get("authorization", "").removeprefix("Bearer ")
        if self._is_token(bearer):
            return None
        given = dict(parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True))
        if scope["method"] == "GET" and self._is_token(given.pop("token", "")):
            return self._with_cookie(scope["path"], given, host)
        if not self._is_token(_cookie(headers, cookie_name(host))):
            return _refused(401, NO_TOKEN, page="text/html" in headers.get("accept", ""))
        if scope["method"] not in ("GET", "HEAD") and origin is None and "sec-fetch-site" not in headers:
            return _refused(403, "A request that changes something says which page it comes from (Origin).")
        return None

    def _is_here(self, host: str) -> bool:
        """Whether a Host header names this machine."""
        try:
            name = urlsplit(f"//{host}").hostname or ""
            urlsplit(f"//{host}").port  # noqa: B018  (raises where it is no number)
        except ValueError:
            return False
        if name in self._hosts:
            return True
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return False
        return self._addresses

    def _is_token(self, text: str) -> bool:
        return bool(text) and secrets.compare_digest(text.encode(), self._token.encode())

    def _with_cookie(self, path: str, rest: dict[str, str], host: str) -> Response:
        """The same address without the token, which is a cookie from then on."""
        # "//elsewhere" would be another machine's address.
        target = "/" + path.lstrip("/\\") + (f"?{urlencode(rest)}" if rest else "")
        answer = RedirectResponse(target, status_code=303)
        answer.set_cookie(cookie_name(host), self._token, httponly=True, samesite="strict", path="/")
        return answer


class TooLarge(HTTPException):
    """A request has sent more than it may; what reads the body for a route lets only this kind of error pass."""

    def __init__(self, most: int) -> None:
        super().__init__(413, TOO_LARGE.format(most / 1e6))


def cookie_name(host: str) -> str:
    """Name of the cookie: browsers share cookies between the ports of a machine, and several studios may run."""
    return f"reenact-studio-{urlsplit(f'//{host}').port or 80}"


def new_token() -> str:
    """A token that nobody can guess."""
    return secrets.token_urlsafe(24)


def _cookie(headers: Headers, name: str) -> str:
    try:
        found = SimpleCookie(headers.get("cookie", "")).get(name)
    except CookieError:
        return ""
    return found.value if found else ""


def _length(headers: Headers) -> int:
    text = headers.get("content-length", "0")
    return int(text) if text.isdecimal() else 0


def _too_large(most: int) -> Response:
    answer = _refused(413, TOO_LARGE.format(most / 1e6))
    answer.headers["connection"] = "close"
    return answer


def _refused(status: int, why: str, page: bool = False) -> Response:
    if not page:
        return JSONResponse({"error": why.replace("<code>", "").replace("</code>", "")}, status)
    return HTMLResponse(
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>reenact studio</title>'
        f"<body><h1>reenact studio</h1><p>{why}</p></body></html>",
        status,
    )


def _seal(headers: MutableHeaders, policy: str) -> None:
    """What every answer says: nothing from elsewhere, in no other page, of exactly this type, told to nobody."""
    headers.setdefault("Content-Security-Policy", policy)
    headers["X-Content-Type-Options"] = "nosniff"
    headers["Referrer-Policy"] = "no-referrer"
    headers["Cross-Origin-Resource-Policy"] = "same-origin"
    headers["Cross-Origin-Opener-Policy"] = "same-origin"
    headers.setdefault("Cache-Control", "no-store")
