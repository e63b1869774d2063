"""Look inside a model in the browser: the explorer, a static page, with the files of a run on this machine.

    wine-gpt explore runs/sample
    wine-gpt explore runs/sample --port 8000 --no_browser

The model runs in the browser. The page needs no network, and only this machine can open it. Ctrl-C ends it.
"""

import argparse
import webbrowser
from collections.abc import Sequence
from pathlib import Path
from threading import Thread

from wine_gpt.cli import Parser, exits_cleanly, number


@exits_cleanly
def main(arguments: Sequence[str] | None = None) -> None:
    """Serve until Ctrl-C."""
    options = read_arguments(arguments)
    # imported after the command line is checked, because importing torch takes seconds
    from wine_gpt.publishing.explorer_server import ExplorerServer

    with ExplorerServer(options.run, options.port) as server:
        print(f"explorer of {options.run}: {server.address} (Ctrl-C ends it)", flush=True)
        if options.browser:
            # in a thread, because a browser in the terminal returns only when it is closed
            Thread(target=webbrowser.open, args=[server.address], daemon=True).start()
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            print()


def read_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Parse the command line."""
    parser = Parser("explore", __doc__)
    parser.add_argument("run", metavar="RUN", type=Path, help="folder of a finished run, or of another GPT-2")
    parser.add_argument(
        "--port", type=number(int, 0, 65535), default=0, help="port on 127.0.0.1 (default: 0, any free one)"
    )
    parser.add_argument("--no_browser", dest="browser", action="store_false", help="do not open the browser")
    return parser.parse_args(arguments)
