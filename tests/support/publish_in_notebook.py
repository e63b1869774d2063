"""Call ``publish`` as a notebook does, and print as JSON what it returned and what it changed in the process.

python publish_in_notebook.py RUN REPOSITORY OTHER_REPOSITORY

The first repository is published twice, then the other one in a thread. The notebook has its own client factory.
"""

import contextlib
import io
import json
import logging
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx2
from huggingface_hub import get_session, set_client_factory

from wine_gpt.publishing import Publication
from wine_gpt.publishing.publish import publish

run, name, other_name = sys.argv[1:]
urls: list[str] = []


def note_request(request: httpx2.Request) -> None:
    """Record a request of this client."""
    urls.append(str(request.url))


def client() -> httpx2.Client:
    """Return the notebook's client."""
    return httpx2.Client(event_hooks={"request": [note_request]}, headers={"X-Notebook": "yes"}, timeout=None)


set_client_factory(client)
before, handlers = get_session(), list(logging.getLogger().handlers)
printed = io.StringIO()
with contextlib.redirect_stdout(printed):
    results = [publish(Publication(Path(run), name)) for _ in range(2)]
    with ThreadPoolExecutor() as threads:
        results.append(threads.submit(publish, Publication(Path(run), other_name)).result())
(repositories, *_) = zip(*(result.repositories for result in results), strict=True)
after = {
    "same client": get_session() is before,
    "request hooks": len(before.event_hooks["request"]),
    "requests by the notebook's client": len(urls),
    "same log handlers": logging.getLogger().handlers == handlers and not logging.getLogger("wine_gpt").handlers,
    "printed": printed.getvalue(),
}
published = [
    {"name": repo.name, "outcome": repo.outcome, "commit": repo.commit, "url": repo.url} for repo in repositories
]
print(json.dumps({"published": published, **after}))
