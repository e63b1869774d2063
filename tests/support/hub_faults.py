"""Faults at every request of a publish, one at a time, and what each leaves behind."""

import re
from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path

from support.hub_server import ACCOUNTS, Fault, HubServer, Request
from support.publisher import Done, Publisher

# what goes away by itself, so that trying again is enough; the status that tells how long to wait has to be obeyed
PASSING = (Fault("drop"), Fault("hang"), Fault("refuse", 429), Fault("refuse", 500), Fault("refuse", 503))
# the same, but what was asked for has happened
LOST = (Fault("drop", lost=True), Fault("hang", lost=True), Fault("refuse", 500, lost=True))
# what doesn't go away
LASTING = (Fault("refuse", 401), Fault("refuse", 403), Fault("refuse", 409))
ALL = (*PASSING, *LOST, *LASTING)
RETRY_AFTER = 7

State = dict[str, dict[str, str] | None]


@dataclass(frozen=True)
class Trial:
    """A fault at a request, and what came of it: the run that met it, the states it left, and a run after it.

    The second run is only there where the first failed.
    """

    request: str
    fault: Fault
    first: Done
    # repository to old, new or neither
    left: dict[str, str]
    second: Done | None
    # what is wrong in the end
    problems: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.fault} at {self.request}"


class Scenario:
    """A Hub in some state, and a publish that changes it.

    Args:
        server: whose state is taken for the old one.
        publisher: that runs the command.
        arguments: the command line of the script.
    """

    def __init__(self, server: HubServer, publisher: Publisher, arguments: Sequence[object]) -> None:
        self.server, self.publisher, self.arguments = server, publisher, arguments
        self.before = (deepcopy(server.repositories), dict(server.objects), deepcopy(server.collections))
        self.old, self.old_commits = state(server), commits(server)
        done = self._publish()
        assert done.code == 0, done.stderr
        self.requests = [str(request) for request in server.requests]
        self.new = state(server)
        self.items = collection_items(server)
        self.old = {name: self.old.get(name) for name in self.new}

    def endpoints(self) -> dict[str, list[int]]:
        """Return what the requests ask for, and the numbers of those that ask for it."""
        found: dict[str, list[int]] = {}
        for number, request in enumerate(self.requests):
            found.setdefault(endpoint(request), []).append(number)
        return found

    def trial(self, number: int, fault: Fault, *, for_good: bool = False) -> Trial:
        """Let a request fail, or it and all after it for good, then run the same command on a sound Hub."""

        def fails(count: int, request: Request) -> Fault | None:
            return fault if count == number or (for_good and count > number) else None

        first = self._publish(fails)
        left = {name: self._compare(name, files) for name, files in state(self.server).items()}
        left |= {name: "old" for name in self.new.keys() - left.keys()}
        second = self._run() if first.code else None
        return Trial(self.requests[number], fault, first, left, second, tuple(self._problems(second)))

    def _publish(self, fault: Callable[[int, Request], Fault | None] | None = None) -> Done:
        self.server.forget()
        self.server.repositories, self.server.objects, self.server.collections = deepcopy(self.before)
        self.server.retry_after = RETRY_AFTER
        if fault:
            self.server.fault = fault
        return self._run()

    def _run(self) -> Done:
        done = self.publisher.run(*self.arguments, staged=True)
        self.server.fault = lambda number, request: None
        return done

    def _compare(self, name: str, files: dict[str, str] | None) -> str:
        if files == self.new[name]:
            return "new"
        # created, with nothing in it
        return "old" if files in (self.old[name], {}) else "neither"

    def _problems(self, second: Done | None) -> Iterator[str]:
        if second and second.code:
            yield f"the second run failed: {second.stderr}"
        if state(self.server) != self.new:
            yield "not all is at its new state"
        for name, count in commits(self.server).items():
            wanted = self.old_commits.get(name, 1) + 1
            if count != wanted:
                yield f"{name} has {count} commits, not {wanted}"
        if collection_items(self.server) != self.items:
            yield "the collection has other items"


def state(server: HubServer) -> State:
    """Return each repository's files."""
    return {f"{kind}s/{name}": repository.files() for (kind, name), repository in server.repositories.items()}


def commits(server: HubServer) -> dict[str, int]:
    """Return the number of each repository's commits."""
    return {name: len(history) for name, history in server.state().items()}


def collection_items(server: HubServer) -> list[list[tuple[str, str]]]:
    """Return the items of each collection."""
    return [
        sorted((item["type"], item["id"]) for item in collection["items"])
        for collection in server.collections.values()
    ]


def endpoint(request: str) -> str:
    """Return a request without what differs from repository to repository."""
    request = re.sub(r"/api/(model|dataset|space)s/[^/]+/[^/]+", "/api/NAME", request)
    request = re.sub(r"[0-9a-f]{40,}", "HASH", request)
    request = re.sub(r"collections/[^/]+/[^/]+", "collections/SLUG", request)
    return re.sub(r"POST /.*\.git", "POST /NAME.git", request)


def leaked(server: HubServer, *texts: str) -> list[str]:
    """Return where a token's value stands, other than in the Authorization headers."""
    places = {f"output {number}": text for number, text in enumerate(texts)}
    for number, request in enumerate(server.requests):
        head = f"{request.path} {request.query} {request.headers}"
        places[f"request {number}"] = head + request.body.decode("latin-1")
    return [place for place, text in places.items() if any(token in text for token in ACCOUNTS)]


def snapshot(folder: Path) -> dict[str, bytes]:
    """Return the content of each file in a folder."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
