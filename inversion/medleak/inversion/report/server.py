"""Audits over HTTP for the same machine alone: read-only, behind a token."""

import contextlib
import hmac
import socket
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

ADDRESS = "127.0.0.1"
CONNECTIONS = 16  # at a time; a browser opens six
HEADERS_WITHIN = 10.0  # seconds
_HEADERS = {
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
_INDEX_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)
_REPORT_POLICY = "frame-ancestors 'none'"  # the report's own policy stands in it
_LONGEST_PATH = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class Library:
    """What is served.

    Attributes:
        audits: Directories by the number under which they are served.
        index: Makes the page that lists them.
        report: Makes the report of a directory.
        token: Whoever does not have it gets nothing.
    """

    audits: Mapping[str, Path]
    index: Callable[[Mapping[str, Path]], bytes]
    report: Callable[[Path], bytes]
    token: str
    # One report at a time: two at once would only take twice the memory.
    busy: threading.Lock = field(default_factory=threading.Lock)


def find_audits(root: Path) -> list[Path]:
    """Audit directories at or below ``root``, those that cannot be read left out.

    Raises:
        ValueError: There is none.
    """
    found = sorted({p.parent for p in root.rglob("results.csv") if p.is_file()})
    if not found:
        raise ValueError(
            f"No audit at or below {str(root)!r}: no directory there has a results.csv. Name the "
            "folder that holds what `medleak audit` wrote."
        )
    return found


def serve(library: Library, port: int = 0) -> ThreadingHTTPServer:
    """A server bound to this machine's loopback; the caller runs and closes it.

    Its pages are ``/<token>/`` and ``/<token>/<number>``. Requests by another host name are
    refused, so that a web page elsewhere cannot reach it by pointing a name of its own here.

    Args:
        library: What is served.
        port: 0: any that is free.

    Raises:
        OSError: The port is taken.
    """
    handler = type("Handler", (_Handler,), {"library": library})
    return _Server((ADDRESS, port), handler)


class _Server(ThreadingHTTPServer):
    """At most so many connections at a time, each a thread; more are hung up on."""

    daemon_threads = True

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._free = threading.BoundedSemaphore(CONNECTIONS)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Start a thread for a connection, if there is room."""
        if self._free.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Answer one connection, and make room."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._free.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Nothing: a client that hung up is no news, and a trace would hold paths."""


class _Handler(BaseHTTPRequestHandler):
    library: Library
    server_version, sys_version = "medleak", ""
    timeout = 20  # seconds that a client may keep a connection waiting

    def handle(self) -> None:
        """Read one request, headers and all, within a time that single bytes do not extend."""
        self._reading = threading.Timer(HEADERS_WITHIN, self._hang_up)
        self._reading.daemon = True
        self._reading.start()
        try:
            super().handle()
        finally:
            self._reading.cancel()

    def _hang_up(self) -> None:
        with contextlib.suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)

    def do_GET(self) -> None:
        """Answer with a page, or with the reason why not."""
        self._reading.cancel()
        status, body, policy = self._answer()
        self.send_response(status)
        for name, value in _HEADERS.items():
            self.send_header(name, value)
        self.send_header("Content-Security-Policy", policy)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_HEAD = do_GET

    def _answer(self) -> tuple[HTTPStatus, bytes, str]:
        if not self._asked_here():
            return HTTPStatus.MISDIRECTED_REQUEST, b"Not this host.", _INDEX_POLICY
        library = self.library
        _, token, *rest = [*self.path[:_LONGEST_PATH].partition("?")[0].split("/"), ""]
        # Compared whole and in constant time, before anything is done with the path.
        if not hmac.compare_digest(token.encode(), library.token.encode()):
            return HTTPStatus.FORBIDDEN, b"The address needs its token.", _INDEX_POLICY
        name = "/".join(rest).strip("/")
        if not name:
            return HTTPStatus.OK, library.index(library.audits), _INDEX_POLICY
        folder = library.audits.get(name)  # a number of ours, never a path
        if folder is None:
            return HTTPStatus.NOT_FOUND, b"No such audit.", _INDEX_POLICY
        try:
            with library.busy:
                return HTTPStatus.OK, library.report(folder), _REPORT_POLICY
        except (ValueError, OSError):
            # The reason may name paths; it is in `medleak report`, for who may read the folder.
            text = b"This audit cannot be read; medleak report says why."
            return HTTPStatus.INTERNAL_SERVER_ERROR, text, _INDEX_POLICY

    def _asked_here(self) -> bool:
        # What a socket listens on is (address, port).
        port = self.connection.getsockname()[1]
        return self.headers.get("Host", "") in {f"{ADDRESS}:{port}", f"localhost:{port}"}

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: a log of addresses would hold the token."""
