"""Commit to a Hub repository exactly once or not at all, although requests fail, time out or lose their response.

huggingface_hub retries uploads and listings itself, and :func:`with_retries` retries all other requests. A commit
whose response was lost may have landed, so :func:`commit` reads the repository before it retries. A file that Xet
cannot upload is uploaded by Git LFS.
"""

import json
import logging
import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TypeVar

import httpx2
from huggingface_hub import (
    CommitOperation,
    CommitOperationAdd,
    CommitOperationDelete,
    HfApi,
    RepoCard,
    get_session,
)
from huggingface_hub.constants import ENDPOINT, REPO_TYPES_URL_PREFIXES
from huggingface_hub.errors import HfHubHTTPError, RepositoryNotFoundError, RevisionNotFoundError
from huggingface_hub.utils import parse_ratelimit_headers  # type: ignore[attr-defined]

from wine_gpt.errors import UserError, one_line

logger = logging.getLogger(__name__)

MAIN = "main"
KINDS = {"model": "model repository", "space": "Space", "dataset": "dataset"}
COMMIT_TITLE = "Publish with wine_gpt"
# seconds to wait before each retry, unless the response has a Retry-After or RateLimit header
PAUSES = (1.0, 2.0, 4.0, 8.0)
# seconds after which connecting, or a read or write without progress, fails
TIMEOUT = 60.0
# hf_xet reads these when its first transfer starts; by default it waits an hour for a silent server
XET_LIMITS = {
    "HF_XET_CLIENT_CONNECT_TIMEOUT": f"{TIMEOUT:g}s",
    "HF_XET_CLIENT_READ_TIMEOUT": f"{TIMEOUT:g}s",
    "HF_XET_CLIENT_RETRY_MAX_ATTEMPTS": "0",
    # new weights have no chunks in common with others' files, so asking for these is one more wait
    "HF_XET_DEDUPLICATION_GLOBAL_DEDUP_QUERY_ENABLED": "0",
}
TRANSIENT_STATUS = (408, 429, 500, 502, 503, 504)
# what huggingface_hub raises for a response that is not JSON, lacks a key or has another type
ANSWER_ERRORS = (ValueError, LookupError, TypeError, AttributeError)
# what huggingface_hub raises; LFS uploads raise RuntimeError from the HTTP error
HUB_ERRORS = (httpx2.HTTPError, OSError, RuntimeError, *ANSWER_ERRORS)

ResultT = TypeVar("ResultT")


class HubError(UserError):
    """The Hub could not be reached or refused a request; the message names the repository and the request."""


class RemoteMovedError(HubError):
    """Somebody else has committed meanwhile, whose commit the same call again would overwrite."""


@dataclass(frozen=True)
class StagedRepo:
    """A repository to publish: all files of ``folder``, to ``branch`` or as a pull request against it."""

    name: str
    # model or space
    kind: str
    folder: Path
    # saved as README.md
    card: RepoCard
    # glob patterns of the files that publishing owns: deleted on the Hub if they are not in the folder
    managed_files: tuple[str, ...] = ()
    branch: str = MAIN
    create_pr: bool = False
    # of a Space: gradio or static
    space_sdk: str | None = None
    # of a new Gradio Space; None is the Hub's default
    space_hardware: str | None = None

    @property
    def title(self) -> str:
        """The repository's kind and name, for messages."""
        return f"{KINDS[self.kind]} {self.name}"

    def files(self) -> dict[str, Path]:
        """Return path in the repository to path on disk, sorted."""
        found = sorted(path for path in self.folder.rglob("*") if path.is_file())
        return {path.relative_to(self.folder).as_posix(): path for path in found}

    def url(self, api: HfApi) -> str:
        """Return the address of the repository's page."""
        return f"{api.endpoint}/{REPO_TYPES_URL_PREFIXES.get(self.kind, '')}{self.name}"


@dataclass(frozen=True)
class StagedRepos:
    """The repositories of one publish; iterating over them gives the order in which they are published.

    Attributes:
        model: the model's.
        subset_models: those of the models that were fine-tuned from it.
        spaces: the demo's; of both kinds if the kind is not chosen yet, and none without a demo.
    """

    model: StagedRepo
    subset_models: tuple[StagedRepo, ...] = ()
    spaces: tuple[StagedRepo, ...] = ()

    def __iter__(self) -> Iterator[StagedRepo]:
        """Yield the model's repository first, because the others name it."""
        return iter((self.model, *self.subset_models, *self.spaces))


@dataclass(frozen=True)
class RemoteState:
    """A repository on the Hub; ``head`` is the branch's commit id, None if the repository or branch does not exist."""

    exists: bool
    head: str | None
    # as the Hub spells it, which differs from the name asked for if the repository was renamed
    name: str = ""
    private: bool = False
    # of a model, such as text-generation; None if the Hub knows none
    task: str | None = None

    def __str__(self) -> str:
        if not self.exists:
            return "does not exist"
        return f"at {self.head[:7]}" if self.head else "exists, without the branch"


@dataclass(frozen=True)
class CommitResult:
    """The id of a commit on the branch or the address of a pull request; one of the two is None."""

    commit: str | None = None
    pull_request: str | None = None


@contextmanager
def bounded_waits() -> Iterator[None]:
    """Apply :data:`TIMEOUT` to huggingface_hub's requests while the block runs; also usable as a decorator.

    huggingface_hub passes ``timeout=None`` with most requests, which overrides a client's own timeout, and has no
    setting for it. A request hook on the shared client sets the timeout without replacing the client or its factory.
    When a connection fails huggingface_hub creates a new client, which the next call of this module bounds again.
    """
    hooks = get_session().event_hooks["request"]
    hooks.append(_set_timeout)
    try:
        yield
    finally:
        hooks.remove(_set_timeout)


def _set_timeout(request: httpx2.Request) -> None:
    request.extensions["timeout"] = httpx2.Timeout(TIMEOUT).as_dict()


def with_retries(call: Callable[[], ResultT]) -> ResultT:
    """Call, and retry after transient errors, with waits of :data:`PAUSES` or of the response's headers."""
    bounded_call = bounded_waits()(call)
    for pause in PAUSES:
        try:
            return bounded_call()
        except HUB_ERRORS as error:
            if not is_transient(error):
                raise
            wait = _retry_after(error)
            wait = pause if wait is None else wait
            logger.warning(f"{describe_error(error)}; retrying in {wait:g} s")
        time.sleep(wait)
    return bounded_call()


def is_transient(error: BaseException) -> bool:
    """Return whether the request may succeed when retried."""
    if isinstance(error, HfHubHTTPError):
        return error.response.status_code in TRANSIENT_STATUS
    # a proxy, or a server that is starting, may respond with HTML instead of JSON
    return isinstance(error, httpx2.TransportError | json.JSONDecodeError)


@bounded_waits()
def fetch_state(api: HfApi, repo: StagedRepo) -> RemoteState:
    """Read, without retries, whether the repository and its branch exist, and the branch's head."""
    try:
        info = api.repo_info(repo.name, repo_type=repo.kind, revision=repo.branch)
        head = info.sha
    except RevisionNotFoundError:
        info, head = api.repo_info(repo.name, repo_type=repo.kind), None
    except RepositoryNotFoundError:
        return RemoteState(False, None)
    return RemoteState(True, head, info.id, bool(info.private), getattr(info, "pipeline_tag", None))


def validate_card(repo: StagedRepo) -> None:
    """Check the card's metadata by the Hub's own rules.

    Raises:
        UserError: if the Hub refuses the metadata.
        HubError: if a request fails.
    """
    try:
        with_retries(repo.card.validate)
    except HUB_ERRORS as error:
        if isinstance(error, ValueError):
            raise UserError(f"{repo.title}: the Hub refuses the card's metadata: {_card_problems(error)}") from error
        raise HubError(f"{repo.title}: validating the card: {describe_error(error)}") from error


def _card_problems(error: ValueError) -> str:
    """Return the messages in the JSON of the Hub's answer, in one line."""
    try:
        messages = [str(problem["message"]) for problem in json.loads(str(error))["errors"]]
    except (ValueError, LookupError, TypeError):
        return one_line(error)
    return one_line(Exception("; ".join(messages)))


@bounded_waits()
def plan_changes(api: HfApi, repo: StagedRepo, revision: str) -> list[CommitOperation]:
    """Return what a commit on top of a revision must add and delete; empty if the revision is up to date."""
    found = api.verify_repo_checksums(repo.name, repo_type=repo.kind, revision=revision, local_dir=repo.folder)
    changed = sorted([*found.extra_paths, *(mismatch["path"] for mismatch in found.mismatches)])
    removed = [path for path in found.missing_paths if any(fnmatchcase(path, file) for file in repo.managed_files)]
    return [
        *(CommitOperationAdd(path_in_repo=path, path_or_fileobj=repo.folder / path) for path in changed),
        *(CommitOperationDelete(path_in_repo=path) for path in removed),
    ]


def create(api: HfApi, repo: StagedRepo, remote: RemoteState, private: bool) -> RemoteState:
    """Create the repository, if it does not exist, and its branch, and return the new state."""
    if not remote.exists:
        with_retries(
            lambda: api.create_repo(
                repo.name,
                repo_type=repo.kind,
                # None is the default of the account: an organization may have new repositories private
                private=private or None,
                # an earlier try may have created it although its response was lost
                exist_ok=True,
                space_sdk=repo.space_sdk,
                space_hardware=repo.space_hardware,  # type: ignore[arg-type]
            )
        )
    if repo.branch != MAIN:
        with_retries(lambda: api.create_branch(repo.name, branch=repo.branch, repo_type=repo.kind, exist_ok=True))
    return with_retries(lambda: fetch_state(api, repo))


def commit(api: HfApi, repo: StagedRepo, operations: list[CommitOperation], head: str) -> CommitResult:
    """Upload the files and make one commit on top of ``head``, or open one pull request.

    Raises:
        RemoteMovedError: if the branch has moved away from ``head``; nothing is overwritten.
    """
    with ExitStack() as opened_files:
        operations = _upload(api, repo, operations, opened_files)
        return _commit_uploaded(api, repo, operations, head)


def _commit_uploaded(api: HfApi, repo: StagedRepo, operations: list[CommitOperation], head: str) -> CommitResult:
    tried = False

    def commit_once() -> CommitResult:
        nonlocal tried
        # find_commit may have failed after the earlier try
        if tried and (landed := find_commit(api, repo, head)):
            return landed
        tried = True
        try:
            info = api.create_commit(
                repo.name,
                operations,
                commit_message=COMMIT_TITLE,
                repo_type=repo.kind,
                revision=repo.branch,
                parent_commit=head,
                create_pr=repo.create_pr,
            )
        except HUB_ERRORS:
            if landed := find_commit(api, repo, head):
                return landed
            raise
        return CommitResult(pull_request=info.pr_url) if repo.create_pr else CommitResult(info.oid)

    return with_retries(commit_once)


def _upload(
    api: HfApi, repo: StagedRepo, operations: list[CommitOperation], opened_files: ExitStack
) -> list[CommitOperation]:
    """Upload large files, with Xet or else with Git LFS, and return the operations to commit."""
    try:
        with _limited_xet():
            _upload_large_files(api, repo, operations)
        return operations
    except (OSError, RuntimeError) as error:
        # an HTTP error is of the Hub or of Git LFS
        if any(isinstance(cause, httpx2.HTTPError) for cause in _causes(error)):
            raise
        logger.warning(
            f"{repo.title}: Xet: {describe_error(error)}; uploading with Git LFS, as HF_HUB_DISABLE_XET=1 does at once"
        )
    operations = [_as_stream(operation, opened_files) for operation in operations]
    _upload_large_files(api, repo, operations)
    return operations


@contextmanager
def _limited_xet() -> Iterator[None]:
    """Set :data:`XET_LIMITS`, unless the user has set them."""
    added = {name: value for name, value in XET_LIMITS.items() if name not in os.environ}
    os.environ.update(added)
    try:
        yield
    finally:
        for name in added:
            os.environ.pop(name, None)


def _as_stream(operation: CommitOperation, opened_files: ExitStack) -> CommitOperation:
    """Return the operation with an open file instead of a path, because huggingface_hub uploads these with Git LFS."""
    if not isinstance(operation, CommitOperationAdd):
        return operation
    stream = opened_files.enter_context(Path(str(operation.path_or_fileobj)).open("rb"))  # noqa: SIM115
    return CommitOperationAdd(path_in_repo=operation.path_in_repo, path_or_fileobj=stream)


@bounded_waits()
def _upload_large_files(api: HfApi, repo: StagedRepo, operations: list[CommitOperation]) -> None:
    """Upload outside of :func:`with_retries`, because huggingface_hub retries uploads itself."""
    additions = [operation for operation in operations if isinstance(operation, CommitOperationAdd)]
    api.preupload_lfs_files(
        repo.name,
        additions,
        repo_type=repo.kind,
        revision=repo.branch,
        create_pr=repo.create_pr,
        free_memory=False,
    )


def find_commit(api: HfApi, repo: StagedRepo, head: str) -> CommitResult | None:
    """Return the commit or pull request that has landed although its response was lost.

    Raises:
        RemoteMovedError: if somebody else has committed on top of ``head``.
    """
    if repo.create_pr:
        return find_open_pull_request(api, repo)
    now = fetch_state(api, repo).head
    if now is None or now == head:
        return None
    if plan_changes(api, repo, now):
        raise RemoteMovedError(
            f"{repo.title}: remote moved {head[:7]} → {now[:7]}; not overwritten: look at what was changed first, at "
            f"{repo.url(api)}/commits/{repo.branch}, because publishing again replaces it"
        )
    return CommitResult(now)


@bounded_waits()
def find_open_pull_request(api: HfApi, repo: StagedRepo) -> CommitResult | None:
    """Return wine_gpt's open pull request that has exactly the staged files, if there is one."""
    for request in api.get_repo_discussions(
        repo.name, repo_type=repo.kind, discussion_type="pull_request", discussion_status="open"
    ):
        if request.title == COMMIT_TITLE and not plan_changes(api, repo, f"refs/pr/{request.num}"):
            return CommitResult(pull_request=request.url)
    return None


def status_of(error: BaseException) -> int | None:
    """Return the HTTP status of the error or of its cause, None without one."""
    return next((cause.response.status_code for cause in _causes(error) if isinstance(cause, HfHubHTTPError)), None)


def describe_error(error: BaseException) -> str:
    """Return one line: the HTTP status, the Hub's message and the request id, or why the connection failed."""
    for cause in _causes(error):
        if isinstance(cause, HfHubHTTPError):
            message = f", {one_line(Exception(cause.server_message))}" if cause.server_message else ""
            return f"status {cause.response.status_code}{message} (request id {cause.request_id})"
        if isinstance(cause, httpx2.TimeoutException):
            return f"{_address(cause)} did not answer in time"
        if isinstance(cause, httpx2.TransportError):
            return f"the connection to {_address(cause)} failed: {one_line(cause)}"
    if isinstance(error, json.JSONDecodeError):
        return f"{ENDPOINT} did not answer with JSON, but perhaps with the log-in page of a network or proxy"
    if isinstance(error, ANSWER_ERRORS):
        return f"the Hub's answer was not understood: {one_line(error)}"
    return one_line(error)


def _address(error: httpx2.TransportError) -> str:
    """Return the scheme, host and port that the request was sent to."""
    try:
        return str(error.request.url.join("/")).rstrip("/")
    except RuntimeError:
        # the error is not of a request
        return ENDPOINT


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _retry_after(error: BaseException) -> float | None:
    """Return the seconds of the Retry-After header, not of its form with a date, or of the Hub's RateLimit header."""
    if not isinstance(error, HfHubHTTPError):
        return None
    text = error.response.headers.get("Retry-After", "")
    if text.isdigit():
        return float(text)
    limit = parse_ratelimit_headers(error.response.headers)
    # the limit has been reset only after its last second
    return limit.reset_in_seconds + 1.0 if limit and error.response.status_code == 429 else None
