"""Inject a fault into each request of a publish, one at a time, and compare the state of the Hub."""

import re
from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass

from support.hub_server import ACCOUNTS, Fault, HubServer, Request
from support.publisher import Done, Publisher

# transient faults, which a retry after the wait survives
TRANSIENT = (Fault("drop"), Fault("hang"), Fault("refuse", 429), Fault("refuse", 500), Fault("refuse", 503))
# transient faults after the server has done what the request asked for
LOST_ANSWERS = (Fault("drop", lost=True), Fault("hang", lost=True), Fault("refuse", 500, lost=True))
# errors that a retry does not help
PERMANENT = (Fault("refuse", 401), Fault("refuse", 402), Fault("refuse", 403), Fault("refuse", 409))
ALL = (*TRANSIENT, *LOST_ANSWERS, *PERMANENT)
# of hf_xet's requests
XET_PATHS = ("/xet-write-token/", "/v1/shards")
XET_FAULTS = (Fault("drop"), Fault("drop", lost=True), Fault("refuse", 403), Fault("refuse", 500))
# answers of another type than expected, and a page of a proxy
ODD_ANSWERS = (*(Fault("json", content=content) for content in (None, [], {}, "text", [None])), Fault("page"))
PAYMENT_REQUIRED = 402
# seconds in the Retry-After header of status 429 and 503
RETRY_AFTER = 7

State = dict[str, dict[str, str] | None]


@dataclass(frozen=True)
class Trial:
    """A fault at a request: the first run, the states that it left, and a second run if the first failed."""

    request: str
    fault: Fault
    first: Done
    # repository to "old", "new" or "neither"
    left: dict[str, str]
    second: Done | None
    # what is wrong after the last run
    problems: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.fault} at {self.request}"


class Scenario:
    """A state of the Hub, and a publish that changes it.

    Args:
        server: the Hub in its old state.
        publisher: the process that runs the command.
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
        self.uses_xet = bool(server.xet_requests)
        # without a paid plan all but the Gradio Space is published, and the model's card does not link the Space
        server.forget()
        self._restore()
        server.paid_plan = False
        publisher.run(*arguments, "--space_sdk", "gradio", reuse_staged=True)
        self.unpaid = state(server)
        self.old = {name: self.old.get(name) for name in self.new}

    def endpoints(self) -> dict[str, list[int]]:
        """Return the endpoints, each with the numbers of its requests."""
        found: dict[str, list[int]] = {}
        for number, request in enumerate(self.requests):
            found.setdefault(endpoint(request), []).append(number)
        return found

    def can_fail(self, number: int, fault: Fault) -> bool:
        """Return whether the Hub may answer so: 409 says that what is created or collected is there already."""
        return fault.status != 409 or not self.requests[number].endswith(("/create", "/items"))

    def trial(self, number: int, fault: Fault, *, permanently: bool = False) -> Trial:
        """Fail one request, or it and all later ones; if the run fails, run the command again without faults."""
        first = self.failed_publish(number, fault, permanently=permanently)
        return self._result(self.requests[number], fault, first)

    def failed_publish(self, number: int, fault: Fault, *, permanently: bool = False) -> Done:
        """Run the command and fail one request, or it and all later ones."""

        def fails(count: int, request: Request) -> Fault | None:
            return fault if count == number or (permanently and count > number) else None

        return self._publish(fails, number if fault.kind == "hang" else None)

    def xet_trial(self, path: str, fault: Fault) -> Trial:
        """Fail hf_xet's requests to a path; a run that fails is repeated without faults."""
        self._restore()
        self.server.xet_fault = lambda request: fault if path in request.path else None
        return self._result(f"{path} of Xet", fault, self._run())

    def _result(self, request: str, fault: Fault, first: Done) -> Trial:
        left = {name: self._compare(name, files, fault) for name, files in state(self.server).items()}
        left |= {name: "old" for name in self.new.keys() - left.keys()}
        second = self._run() if first.code else None
        return Trial(request, fault, first, left, second, tuple(self._problems(second, fault)))

    def _restore(self) -> None:
        """Put the Hub into its old state."""
        self.server.forget()
        self.server.repositories, self.server.objects, self.server.collections = deepcopy(self.before)
        self.server.retry_after = RETRY_AFTER

    def _publish(
        self, fault: Callable[[int, Request], Fault | None] | None = None, hanging: int | None = None
    ) -> Done:
        self._restore()
        if fault:
            self.server.fault = fault
        return self._run(hanging)

    def _run(self, hanging: int | None = None) -> Done:
        done = self.publisher.run(*self.arguments, reuse_staged=True, hanging=hanging)
        self.server.fault = lambda number, request: None
        self.server.xet_fault = lambda request: None
        return done

    def _compare(self, name: str, files: dict[str, str] | None, fault: Fault) -> str:
        if files == self.new[name] or (fault.status == PAYMENT_REQUIRED and files == self.unpaid.get(name)):
            return "new"
        # a repository that was created and is empty counts as old
        return "old" if files in (self.old[name], {}) else "neither"

    def _problems(self, second: Done | None, fault: Fault) -> Iterator[str]:
        if second and second.code:
            yield f"the second run failed: {second.stderr}"
        if state(self.server) != self.new:
            yield "some repositories are not in the new state"
        for name, count in commits(self.server).items():
            expected = self.old_commits.get(name, 1) + 1
            # with a paid plan the second run adds the link to the demo
            is_linked = fault.status == PAYMENT_REQUIRED and self.unpaid.get(name) != self.new[name]
            if count not in (expected, expected + is_linked):
                yield f"{name} has {count} commits, not {expected}"
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
    """Return a request without the names and hashes that differ between repositories."""
    request = re.sub(r"/api/(model|dataset|space)s/[^/]+/[^/]+", "/api/NAME", request)
    request = re.sub(r"[0-9a-f]{40,}", "HASH", request)
    request = re.sub(r"(GET|HEAD) /[^/]+/[^/]+/resolve/", r"\1 /NAME/resolve/", request)
    request = re.sub(r"collections/[^/]+/[^/]+", "collections/SLUG", request)
    return re.sub(r"POST /.*\.git", "POST /NAME.git", request)


def leaked(server: HubServer, *texts: str) -> list[str]:
    """Return which outputs and requests contain a token's value, other than in the Authorization header."""
    searched = {f"output {number}": text for number, text in enumerate(texts)}
    for number, request in enumerate([*server.requests, *server.xet_requests]):
        head = f"{request.path} {request.query} {request.headers}"
        searched[f"request {number}"] = head + request.body.decode("latin-1")
    return [name for name, text in searched.items() if any(token in text for token in ACCOUNTS)]
