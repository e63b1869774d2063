"""Serve the explorer with a local model: on loopback only, and no file of the model's folder but those it reads."""

import errno
import sys
from http import HTTPStatus
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import BinaryIO
from urllib.parse import quote, unquote, urlsplit

from wine_gpt.errors import UserError
from wine_gpt.files import write_json
from wine_gpt.publishing.explorer import page_files, run_files
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
        name, page = run.resolve().name or "run", page_files()
        # what it sends, by path
        self.contents = {
            **{f"/{path}": file for path, file in page.items()},
            **{f"/run/{name}/{path}": file for path, file in run_files(run).items()},
            "/": page["index.html"],
        }
        self._folder = TemporaryDirectory()
        self.contents[f"/{SPACE_SETTINGS}"] = settings = Path(self._folder.name) / SPACE_SETTINGS
        write_json(settings, {"model": f"./run/{quote(name, safe='')}/"})
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

    def server_close(self) -> None:
        """Free the port, and remove the page's settings."""
        super().server_close()
        self._folder.cleanup()


class _Handler(SimpleHTTPRequestHandler):
    """Answers GET and HEAD."""

    server: ExplorerServer
    protocol_version = "HTTP/1.1"
    extensions_map = CONTENT_TYPES

    def send_head(self) -> BinaryIO | None:
        """Send the headers, and return the file to send after them; None after an error."""
        # another site could otherwise read the model through a name that it points at loopback (DNS rebinding)
        if urlsplit(f"//{self.headers.get('Host', '')}").hostname not in (HOST, "localhost"):
            self.send_error(HTTPStatus.FORBIDDEN)
        elif unquote(urlsplit(self.path).path) not in self.server.contents:
            self.send_error(HTTPStatus.NOT_FOUND)
        else:
            return super().send_head()
        return None

    def translate_path(self, path: str) -> str:
        """Return the file that is sent for a path."""
        return str(self.server.contents[unquote(urlsplit(path).path)])

    def end_headers(self) -> None:
        """Add headers to each answer."""
        # a browser that stored a file would ask by date for that of another model, which may be older
        self.send_header("Cache-Control", "no-store")
        self.send_header("X-Content-Type-Options", "nosniff")
        super().end_headers()

    def log_message(self, *_: object) -> None:
        """Log nothing."""
