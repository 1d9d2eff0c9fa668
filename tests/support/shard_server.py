"""An HTTP server for tests that knows ranges, counts what it sends, and misbehaves when told to.

It serves a folder, or passes everything on to another server, in whose answers it then spoils what it is told to.
"""

from __future__ import annotations

import http.client
import re
import threading
import time
from collections import Counter, defaultdict, deque
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType

PIECE = 1 << 14


@dataclass(frozen=True, kw_only=True)
class Fault:
    """What goes wrong with one answer."""

    status: int = 0
    """Answer this instead."""
    drop_after: int | None = None
    """Close the connection after so many bytes."""
    flip: int | None = None
    """Change a bit of the byte at this place of the file, when it is in the answer."""
    pause: float = 0.0
    """Seconds before each piece."""
    piece: int = PIECE
    """Bytes sent at a time."""
    endless: bool = False
    """Send zeros for ever, whatever was asked."""
    no_ranges: bool = False
    """Send the whole file whatever was asked."""


class ShardServer:
    """Serves while it is entered. `folder`: what it serves; `upstream`: host:port it passes requests on to."""

    def __init__(self, folder: Path | None = None, upstream: str | None = None) -> None:
        self.folder, self.upstream = folder, upstream
        self.sent: Counter[str] = Counter()
        """File name -> bytes of content sent."""
        self.requests: Counter[str] = Counter()
        """`GET name` or `HEAD name` -> how often."""
        self.once: defaultdict[str, deque[Fault]] = defaultdict(deque)
        """File name -> faults of the next answers."""
        self.always: dict[str, Fault] = {}
        """File name -> fault of every answer after those."""
        self.lock = threading.Lock()
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.server.daemon_threads = True
        self.address = f"127.0.0.1:{self.server.server_address[1]}"
        self.url = f"http://{self.address}"

    def __enter__(self) -> ShardServer:
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.server.shutdown()
        self.server.server_close()

    def fault(self, name: str) -> Fault:
        with self.lock:
            return self.once[name].popleft() if self.once[name] else self.always.get(name, Fault())

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                self.answer()

            do_HEAD = do_PUT = do_POST = do_DELETE = do_GET  # noqa: N815

            def log_message(self, *given: object) -> None:
                pass

            def answer(self) -> None:
                name = self.path.partition("?")[0].rpartition("/")[2]
                with outer.lock:
                    outer.requests[f"{self.command} {name}"] += 1
                fault = outer.fault(name) if self.command in ("GET", "HEAD") else Fault()
                if fault.endless:
                    self.go_on_for_ever(name)
                elif fault.status:
                    self.reply(fault.status, {"Content-Type": "text/plain"}, b"no", name, Fault())
                elif outer.upstream:
                    self.pass_on(name, fault)
                else:
                    self.from_folder(name, fault)

            def from_folder(self, name: str, fault: Fault) -> None:
                assert outer.folder is not None
                file = outer.folder / name
                if not file.is_file():
                    self.reply(404, {}, b"", name, Fault())
                    return
                content = bytearray(file.read_bytes())
                if fault.flip is not None:
                    content[fault.flip] ^= 1
                span = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
                if span is None or fault.no_ranges:
                    self.reply(200, {}, bytes(content), name, fault)
                elif int(span[1]) >= len(content):
                    self.reply(416, {"Content-Range": f"bytes */{len(content)}"}, b"", name, Fault())
                else:
                    first, last = int(span[1]), min(int(span[2]), len(content) - 1)
                    where = {"Content-Range": f"bytes {first}-{last}/{len(content)}"}
                    self.reply(206, where, bytes(content[first : last + 1]), name, fault)

            def go_on_for_ever(self, name: str) -> None:
                self.send_response(200)
                self.end_headers()
                self.close_connection = True
                try:
                    while True:
                        self.wfile.write(bytes(PIECE))
                        with outer.lock:
                            outer.sent[name] += PIECE
                except OSError:  # the other side has seen enough
                    pass

            def pass_on(self, name: str, fault: Fault) -> None:
                assert outer.upstream is not None
                connection = http.client.HTTPConnection(outer.upstream, timeout=20)
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                connection.request(self.command, self.path, body, dict(self.headers))
                given = connection.getresponse()
                content = bytearray(given.read())
                kept = {
                    k: v
                    for k, v in given.getheaders()
                    if k.lower() not in ("connection", "transfer-encoding", "date", "server")
                }
                place = re.match(r"bytes (\d+)-", kept.get("Content-Range") or kept.get("content-range") or "bytes 0-")
                at = (fault.flip if fault.flip is not None else -1) - int(place[1] if place else 0)
                if 0 <= at < len(content) and given.status < 300:
                    content[at] ^= 1
                self.reply(given.status, kept, bytes(content), name, fault)

            def reply(self, status: int, headers: dict[str, str], content: bytes, name: str, fault: Fault) -> None:
                self.send_response(status)
                if not any(key.lower() == "content-length" for key in headers):
                    headers = {**headers, "Content-Length": str(len(content))}
                for key, value in headers.items():
                    self.send_header(key, value)
                self.end_headers()
                if self.command == "HEAD":
                    return
                try:
                    for at in range(0, len(content), fault.piece):
                        time.sleep(fault.pause)
                        piece = content[
                            at : min(at + fault.piece, len(content) if fault.drop_after is None else fault.drop_after)
                        ]
                        self.wfile.write(piece)
                        with outer.lock:
                            outer.sent[name] += len(piece)
                        if fault.drop_after is not None and at + fault.piece >= fault.drop_after:
                            self.close_connection = True
                            return
                except OSError:  # the other side was killed
                    self.close_connection = True

        return Handler
