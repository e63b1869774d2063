"""A local server with the part of Kaggle's HTTP API that kagglehub needs to download a file of a dataset.

In its LOCALHOST environment kagglehub sends requests to ``http://localhost``. The server is set as the HTTP proxy, so
that it receives them on any port.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

from support.local_server import serving

SERVICE = "/api/v1/datasets.DatasetApiService/"


class KaggleServer(ThreadingHTTPServer):
    """Serves one dataset's files by name; with a ``status`` other than 200 every download fails with it."""

    def __init__(self, files: dict[str, bytes]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.files = files
        self.status = 200
        self.requests: list[tuple[str, dict[str, object]]] = []

    def environment(self, cache: Path) -> dict[str, str]:
        """Return the environment variables that make kagglehub send all requests to this server."""
        proxy = f"http://127.0.0.1:{self.server_port}"
        return {
            "KAGGLE_API_ENVIRONMENT": "LOCALHOST",
            "KAGGLE_USERNAME": "someone",
            "KAGGLE_KEY": "a-key",
            "KAGGLEHUB_CACHE": str(cache),
            "http_proxy": proxy,
            "HTTP_PROXY": proxy,
            "no_proxy": "",
            "NO_PROXY": "",
        }


class _Handler(BaseHTTPRequestHandler):
    server: KaggleServer

    def do_POST(self) -> None:
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        name = urlsplit(self.path).path.removeprefix(SERVICE)
        self.server.requests.append((name, request))
        if name == "DownloadDataset" and self.server.status == 200:
            self._answer(200, "application/octet-stream", self.server.files[request["fileName"]])
        elif name == "ListTreeDatasetFiles":
            # after a 404 kagglehub asks whether the path is a folder
            self._answer(200, "application/json", b"{}")
        else:
            body = json.dumps({"code": self.server.status, "message": "refused"}).encode()
            self._answer(self.server.status, "application/json", body)

    def _answer(self, status: int, kind: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: object) -> None:
        """Log nothing."""


@contextmanager
def kaggle_server(files: dict[str, bytes]) -> Iterator[KaggleServer]:
    """Serve the files while the block runs."""
    with serving(KaggleServer(files)) as server:
        yield server
