"""Run a local HTTP server while a test needs it, and reserve ports for servers in other processes."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import ThreadingHTTPServer
from threading import Thread
from typing import TypeVar

ServerT = TypeVar("ServerT", bound=ThreadingHTTPServer)

# seconds after which a test that waits for a process fails; only a process that hangs takes so long
PATIENCE = 600.0


@contextmanager
def reserved_port() -> Iterator[int]:
    """Yield a port on which a server with SO_REUSEADDR can listen, and which no other process is given meanwhile."""
    with socket.socket() as reserved:
        reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        reserved.bind(("127.0.0.1", 0))
        yield reserved.getsockname()[1]


@contextmanager
def serving(server: ServerT) -> Iterator[ServerT]:
    """Serve in a thread while the block runs."""
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
