"""What tests start on loopback beside the service: programs that serve, and servers that answer as they are told."""

from __future__ import annotations

import contextlib
import http.server
import signal
import socket
import subprocess
import threading
import time
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from email.message import Message
    from pathlib import Path

STARTS_S = 60


def free_port() -> int:
    """Return a port of this computer at which nobody listens."""
    with socket.socket() as trying:
        trying.bind(("127.0.0.1", 0))
        return trying.getsockname()[1]


class Program:
    """A program that serves; `close` ends it."""

    def __init__(
        self, command: Sequence[str], *, environment: Mapping[str, str], log: Path, says_when_ready: str
    ) -> None:
        """Start it and return when that stands in its log."""
        with log.open("wb") as file:
            self.process = subprocess.Popen(command, env=environment, stdout=file, stderr=subprocess.STDOUT)
        try:
            until = time.monotonic() + STARTS_S
            while says_when_ready not in log.read_text():
                assert self.process.poll() is None, log.read_text()
                assert time.monotonic() < until, log.read_text()
                time.sleep(0.05)
        except BaseException:
            self.close()
            raise

    @contextlib.contextmanager
    def hanging(self) -> Iterator[None]:
        """Have it take connections and say nothing."""
        self.process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self.process.send_signal(signal.SIGCONT)

    def close(self) -> None:
        self.process.kill()
        self.process.wait()


class Answering:
    """An HTTP server that gives everybody one answer, and remembers who asked; it serves within `with`."""

    def __init__(self, status: int = 200, headers: Mapping[str, str] | None = None, body: bytes = b"") -> None:
        self.asked: list[tuple[str, Message, bytes]] = []
        """Path, headers and body of each request."""
        asked = self.asked

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                asked.append((self.path, self.headers, self.rfile.read(int(self.headers.get("Content-Length", 0)))))
                self.send_response(status)
                for name, value in (headers or {}).items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def do_GET(self) -> None:
                self.do_POST()

            def log_message(self, *_: object) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
