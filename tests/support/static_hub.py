"""A static file server that answers a browser as the Hub does: CORS, ranges, redirects of resolve to another host.

``/org/name/resolve/revision/file`` redirects with 307 to ``/files/org/name/file`` of a second server, as the Hub
redirects to its CDN. Everything else is a file below the server's root.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from support.local_server import serving

RESOLVE = re.compile(r"/(?P<repository>[\w.-]+/[\w.-]+)/resolve/(?P<revision>[^/]+)/(?P<file>[\w.-]+)")
FILES = "/files/"


@dataclass
class Behavior:
    """How the server answers requests for models' files.

    Attributes:
        ranges: whether a range is answered with 206; else the whole file with 200.
        drop_after: number of bytes after which the next answer's connection is closed.
        status: answers every file with this status instead.
        asked: the path and the Range header of each request.
    """

    ranges: bool = True
    drop_after: int | None = None
    status: int | None = None
    asked: list[tuple[str, str | None]] = field(default_factory=list)


class StaticHub(ThreadingHTTPServer):
    """Serves folders by the first part of the path: the longest prefix of ``mounts``."""

    daemon_threads = True

    def __init__(self, mounts: dict[str, Path], cdn: "StaticHub | None" = None) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.mounts, self.cdn, self.behavior = mounts, cdn, Behavior()

    @property
    def address(self) -> str:
        """The address without a slash at the end."""
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(SimpleHTTPRequestHandler):
    server: StaticHub

    def log_message(self, *_: Any) -> None:  # noqa: ANN401 - of the standard library
        """Print nothing."""

    def end_headers(self) -> None:
        self.send_header("Access-Control-Allow-Origin", "*")
        super().end_headers()

    def do_GET(self) -> None:
        path, behavior = unquote(urlsplit(self.path).path), self.server.behavior
        behavior.asked.append((path, self.headers["Range"]))
        if behavior.status is not None:
            self.send_error(behavior.status)
        elif (resolved := RESOLVE.fullmatch(path)) and self.server.cdn:
            self.send_response(307)
            self.send_header(
                "Location", f"{self.server.cdn.address}{FILES}{resolved['repository']}/{resolved['file']}"
            )
            self.send_header("Content-Length", "0")
            self.end_headers()
        else:
            self._send_file(path)

    def _send_file(self, path: str) -> None:
        file = self._find(path)
        if file is None:
            return self.send_error(404)
        content, behavior = file.read_bytes(), self.server.behavior
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers["Range"] or "") if behavior.ranges else None
        start, end = (int(asked[1]), int(asked[2] or len(content) - 1) + 1) if asked else (0, len(content))
        part = content[start:end]
        self.send_response(206 if asked else 200)
        # a browser runs no module of another type, and mimetypes depends on the system
        self.send_header("Content-Type", "text/javascript" if file.suffix == ".js" else self.guess_type(file.name))
        self.send_header("Content-Length", str(len(part)))
        if asked:
            self.send_header("Content-Range", f"bytes {start}-{end - 1}/{len(content)}")
        self.end_headers()
        if behavior.drop_after is not None and len(part) > behavior.drop_after:
            part, behavior.drop_after = part[: behavior.drop_after], None
            self.close_connection = True
        self.wfile.write(part)

    def _find(self, path: str) -> Path | None:
        for prefix, folder in sorted(self.server.mounts.items(), reverse=True):
            if path.startswith(prefix):
                file = folder / path.removeprefix(prefix)
                return file if file.is_file() and file.resolve().is_relative_to(folder.resolve()) else None
        return None


@contextmanager
def static_hub(models: Path, pages: dict[str, Path]) -> Iterator[StaticHub]:
    """Serve models as the Hub does, from ``models/org/name``, and pages from folders by their prefixes."""
    with serving(StaticHub({FILES: models})) as cdn, serving(StaticHub({FILES: models, **pages}, cdn)) as hub:
        yield hub
