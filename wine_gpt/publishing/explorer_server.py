"""Serve the explorer with a local model: on loopback only, and no file of the model's folder but those it reads."""

import errno
import json
import re
import shutil
import sys
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path
from typing import BinaryIO
from urllib.parse import quote, unquote, urlsplit

from wine_gpt.errors import UserError
from wine_gpt.publishing.explorer import ExplorerSettings, page_files, run_files
from wine_gpt.publishing.explorer_files import CONTENT_TYPES
from wine_gpt.publishing.published_files import SPACE_SETTINGS

HOST = "127.0.0.1"


class ExplorerServer(ThreadingHTTPServer):
    """Serves the explorer's page with one model; ``serve_forever`` runs it.

    Args:
        run: the folder of a finished run, or of another GPT-2.
        port: of loopback; 0 is any free one.

    Raises:
        UserError: if the folder has no finished model, or the port can't be used.
    """

    daemon_threads = True
    # on Windows the option would let two servers have one port
    allow_reuse_address = sys.platform != "win32"

    def __init__(self, run: Path, port: int = 0) -> None:
        self.contents = contents_of(run)
        try:
            super().__init__((HOST, port), _Handler)
        except OSError as error:
            in_use = error.errno == errno.EADDRINUSE
            reason = "another program uses it" if in_use else error.strerror
            raise UserError(f"--port: can't listen on {HOST}:{port}: {reason}; name another port, or 0") from error

    @property
    def address(self) -> str:
        """The page's address."""
        return f"http://{HOST}:{self.server_port}/"

    def handle_error(self, request: object, client_address: object) -> None:
        """Ignore a browser that closed the connection, and print other errors."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)  # type: ignore[arg-type]


def contents_of(run: Path) -> dict[str, Path | bytes]:
    """Return what the server sends, by path: the page, its settings and the model's files.

    Raises:
        UserError: if the folder has no finished model.
    """
    name = run.resolve().name or "run"
    settings = ExplorerSettings(model=f"./run/{quote(name, safe='')}/")
    return {
        **{f"/{path}": file for path, file in page_files().items()},
        **{f"/run/{name}/{path}": file for path, file in run_files(run).items()},
        "/": page_files()["index.html"],
        f"/{SPACE_SETTINGS}": json.dumps(settings.to_dict()).encode(),
    }


class _Handler(BaseHTTPRequestHandler):
    """Answers GET and HEAD, with ranges."""

    server: ExplorerServer
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Send a file, or the range of it that is asked for."""
        self._answer(with_body=True)

    def do_HEAD(self) -> None:
        """Send a file's headers."""
        self._answer(with_body=False)

    def log_message(self, *_: object) -> None:
        """Log nothing."""

    def _answer(self, with_body: bool) -> None:
        # another site could otherwise read the model through a name that it points at loopback (DNS rebinding)
        if urlsplit(f"//{self.headers.get('Host', '')}").hostname not in (HOST, "localhost"):
            return self.send_error(HTTPStatus.FORBIDDEN)
        path = unquote(urlsplit(self.path).path)
        content = self.server.contents.get(path)
        try:
            file = None if content is None else BytesIO(content) if isinstance(content, bytes) else content.open("rb")
        except OSError:
            file = None
        if file is None:
            return self.send_error(HTTPStatus.NOT_FOUND)
        with file:
            name = path if isinstance(content, bytes) else str(content)
            self._send(file, CONTENT_TYPES[Path(name).suffix], with_body)
        return None

    def _send(self, file: BinaryIO, content_type: str, with_body: bool) -> None:
        size = file.seek(0, 2)
        span = parse_range(self.headers.get("Range", ""), size)
        if span is not None and not span:
            self.send_response(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE)
            self.send_header("Content-Range", f"bytes */{size}")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self.send_response(HTTPStatus.OK if span is None else HTTPStatus.PARTIAL_CONTENT)
        if span is not None:
            self.send_header("Content-Range", f"bytes {span.start}-{span.stop - 1}/{size}")
        span = span or range(size)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(span)))
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Cache-Control", "no-cache")
        self.send_header("X-Content-Type-Options", "nosniff")
        self.end_headers()
        if with_body:
            file.seek(span.start)
            if span.stop == size:
                shutil.copyfileobj(file, self.wfile)
            else:
                self.wfile.write(file.read(len(span)))


def parse_range(header: str, size: int) -> range | None:
    """Return the bytes that a Range header asks for.

    Returns:
        None for the whole file, also if the header is malformed or has several ranges; empty if it asks for no byte of
        the file.
    """
    found = re.fullmatch(r"bytes=(\d*)-(\d*)", header.strip())
    if found is None or not any(found.groups()):
        return None
    first, last = found.groups()
    if not first:
        return range(max(size - int(last), 0), size)
    if last and int(last) < int(first):
        return None
    return range(int(first), min(int(last) + 1, size) if last else size)
