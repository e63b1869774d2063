"""Static file servers that answer a browser as the Hub does: CORS, ranges, redirects of resolve to another host."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from support.local_server import serving

RESOLVE = re.compile(r"/(?P<repository>[\w.-]+/[\w.-]+)/resolve/(?P<revision>.+)/(?P<file>[\w.-]+)")
FILES = "/files/"


@dataclass
class Behavior:
    """How a server answers.

    Attributes:
        ranges: whether a range is answered with 206; else the whole file with 200.
        drop_after: number of bytes after which the connection of the next answer with weights is closed.
        unanswered: how many requests after that one are closed without an answer.
        status: answers every file with this status instead.
        asked: the path and the Range header of each request.
    """

    ranges: bool = True
    drop_after: int | None = None
    unanswered: int = 0
    status: int | None = None
    asked: list[tuple[str, str | None]] = field(default_factory=list)


class StaticFiles(ThreadingHTTPServer):
    """Serves folders by the beginning of the path, and redirects to ``cdn`` what RESOLVE matches."""

    daemon_threads = True

    def __init__(
        self,
        mounts: dict[str, Path],
        cdn: "StaticFiles | None" = None,
        handler: "type[StaticHandler] | None" = None,
    ) -> None:
        super().__init__(("127.0.0.1", 0), handler or StaticHandler)
        self.mounts, self.cdn = mounts, cdn
        self.behavior = Behavior()

    @property
    def address(self) -> str:
        """The address without a slash at the end."""
        return f"http://127.0.0.1:{self.server_address[1]}"

    def find(self, path: str) -> Path | None:
        """Return the file of a path, a folder's index.html, or None."""
        for prefix, folder in sorted(self.mounts.items(), reverse=True):
            if path.startswith(prefix):
                file = folder / path.removeprefix(prefix)
                file = file / "index.html" if path.endswith("/") else file
                return file if file.is_file() else None
        return None


@dataclass(frozen=True)
class StaticHub:
    """A Hub that redirects ``/org/name/resolve/revision/file`` to its CDN, and the folder that has ``org/name``."""

    models: Path
    front: StaticFiles
    cdn: StaticFiles

    def source(self, name: str) -> dict[str, str]:
        """Return the explorer's source of a model of ``org``."""
        return {"hub": f"org/{name}", "endpoint": self.front.address}

    def behave(self) -> None:
        """Answer as usual, and forget what was asked."""
        self.front.behavior, self.cdn.behavior = Behavior(), Behavior()


class StaticHandler(SimpleHTTPRequestHandler):
    """Answers with the server's files."""

    server: StaticFiles

    def log_message(self, *_: Any) -> None:  # noqa: ANN401 - of the standard library
        """Print nothing."""

    def end_headers(self) -> None:
        """Let pages of other origins read the answer."""
        self.send_header("Access-Control-Allow-Origin", "*")
        super().end_headers()

    def do_GET(self) -> None:
        """Send a file, or redirect to the CDN."""
        path, behavior = unquote(urlsplit(self.path).path), self.server.behavior
        behavior.asked.append((path, self.headers["Range"]))
        if behavior.unanswered and behavior.drop_after is None:
            behavior.unanswered -= 1
        elif behavior.status is not None:
            self.send_error(behavior.status)
        elif (resolved := RESOLVE.fullmatch(path)) and (cdn := self.server.cdn):
            self._redirect(cdn, f"{FILES}{resolved['repository']}/{resolved['file']}")
        elif file := self.server.find(path):
            self._send(file)
        else:
            self.send_error(404)

    def _redirect(self, cdn: StaticFiles, path: str) -> None:
        if cdn.find(path) is None:
            return self.send_error(404)
        self.send_response(307)
        self.send_header("Location", f"{cdn.address}{path}")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _send(self, file: Path) -> None:
        content, behavior = file.read_bytes(), self.server.behavior
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers["Range"] or "") if behavior.ranges else None
        start = int(asked[1]) if asked else 0
        part = content[start:]
        self.send_response(206 if asked else 200)
        # a browser runs no module of another type, and mimetypes depends on the system
        self.send_header("Content-Type", "text/javascript" if file.suffix == ".js" else self.guess_type(file.name))
        self.send_header("Content-Length", str(len(part)))
        if asked:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.end_headers()
        if behavior.drop_after is not None and file.suffix == ".safetensors":
            part, behavior.drop_after = part[: behavior.drop_after], None
        self.wfile.write(part)


@contextmanager
def static_hub(models: Path) -> Iterator[StaticHub]:
    """Serve the models in ``models/org/NAME``."""
    with serving(StaticFiles({FILES: models})) as cdn, serving(StaticFiles({}, cdn)) as front:
        yield StaticHub(models, front, cdn)
