"""What is asked of the Hub so that a repository is published whole, once, or not at all.

huggingface_hub itself tries uploads, preupload and listings again, with waits and Retry-After. The rest (who am I,
repository information, validation, creating, committing, collections) it asks once; :func:`with_retries` does the same
for those. A commit is different: an answer that got lost may stand for a commit that landed, so its repository is read
again before anything else is tried.
"""

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import httpx2
from huggingface_hub import (
    CommitOperationAdd,
    CommitOperationDelete,
    HfApi,
    RepoCard,
    get_session,
    get_token,
    set_client_factory,
)
from huggingface_hub.errors import HfHubHTTPError, RepositoryNotFoundError, RevisionNotFoundError
from huggingface_hub.hf_api import RepoFile
from huggingface_hub.utils.sha import git_hash, sha_fileobj

from wine_gpt.errors import UserError, one_line

MAIN = "main"
KINDS = {"model": "model repository", "space": "Space", "dataset": "data set"}
COMMIT_TITLE = "Publish with wine_gpt"
# seconds to wait before each further try, unless the Hub says how long
PAUSES = (1.0, 2.0, 4.0, 8.0)
# seconds without a byte after which a connection is given up; huggingface_hub would wait for ever
TIMEOUT = 60.0
TRANSIENT_STATUS = (408, 429, 500, 502, 503, 504)
# whatever huggingface_hub may raise: LFS uploads wrap their errors, answers that are no JSON or lack a key are taken
# for values
HUB_ERRORS = (httpx2.HTTPError, OSError, ValueError, KeyError, RuntimeError)

Operation = CommitOperationAdd | CommitOperationDelete
ResultT = TypeVar("ResultT")


class HubError(UserError):
    """The Hub could not be reached or said no; the message says of what repository, and how it stands now."""


@dataclass(frozen=True)
class StagedRepo:
    """A repository as it is to be: all files of ``folder``, and the card that is its README.md."""

    name: str
    # model or space
    kind: str
    folder: Path
    card: RepoCard
    # files that publishing may write; one that is on the Hub, but not in the folder any more, is removed
    known: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        """The repository in a message."""
        return f"{KINDS[self.kind]} {self.name}"

    def files(self) -> dict[str, Path]:
        """Return path in the repository to path on disk, sorted."""
        found = sorted(path for path in self.folder.rglob("*") if path.is_file())
        return {path.relative_to(self.folder).as_posix(): path for path in found}


@dataclass(frozen=True)
class RemoteState:
    """A repository as it is on the Hub; ``head`` is none where the branch, or all of it, is not there yet."""

    exists: bool
    head: str | None

    def __str__(self) -> str:
        if not self.exists:
            return "not there"
        return f"at {self.head[:7]}" if self.head else "there, without the branch"


def connect() -> tuple[HfApi, dict[str, Any]]:
    """Return the Hub's client and who its token belongs to, as whoami says.

    Raises:
        UserError: if there is no token, or not a valid one.
    """
    if get_token() is None:
        raise UserError("no token: log in with hf auth login, or set HF_TOKEN")
    _limit_waiting()
    api = HfApi(library_name="wine_gpt")
    try:
        account: dict[str, Any] = with_retries(api.whoami)
    except HUB_ERRORS as error:
        if status_of(error) == 401:
            raise UserError("the token is not valid: log in again with hf auth login, or set HF_TOKEN") from error
        raise HubError(f"whoami: {describe_error(error)}") from error
    return api, account


def require_access(
    api: HfApi, account: dict[str, Any], staged: StagedRepo, branch: str, by_pull_request: bool
) -> RemoteState:
    """Look at a repository, and check that it is, or can become, what is to be published.

    Raises:
        UserError: if another type has the name, or the token may not write there.
        HubError: if the Hub can't be asked.
    """
    try:
        remote = with_retries(lambda: fetch_state(api, staged, branch))
        if not remote.exists:
            _require_free(api, staged)
        if by_pull_request:
            if not remote.head:
                raise UserError(f"{staged.title} has no {branch}: a pull request needs what it changes")
            return remote
        _require_role(account, staged)
        if remote.exists:
            with_retries(lambda: api.auth_check(staged.name, repo_type=staged.kind, write=True))
    except HUB_ERRORS as error:
        if status_of(error) == 403:
            raise UserError(f"{staged.title}: {account['name']} has no write permission") from error
        raise HubError(f"{staged.title}: {describe_error(error)}") from error
    return remote


def fetch_state(api: HfApi, staged: StagedRepo, branch: str) -> RemoteState:
    """Read, in one try, whether the repository and its branch are there, and the branch's head."""
    try:
        info = api.repo_info(staged.name, repo_type=staged.kind, revision=branch)
    except RevisionNotFoundError:
        return RemoteState(True, None)
    except RepositoryNotFoundError:
        return RemoteState(False, None)
    return RemoteState(True, info.sha)


def validate(staged: StagedRepo) -> None:
    """Have the Hub check the card's metadata.

    Raises:
        UserError: if the Hub finds fault with it.
    """
    try:
        with_retries(staged.card.validate)
    except HUB_ERRORS as error:
        if isinstance(error, ValueError):
            raise UserError(f"{staged.title}: the Hub refuses the card's metadata: {one_line(error)}") from error
        raise HubError(f"{staged.title}: validating the card: {describe_error(error)}") from error


def plan_changes(api: HfApi, staged: StagedRepo, head: str) -> list[Operation]:
    """Return what a commit on top of ``head`` must do; nothing where the Hub has every file as it is."""
    entries = api.list_repo_tree(staged.name, recursive=True, revision=head, repo_type=staged.kind)
    remote = {entry.path: entry for entry in entries if isinstance(entry, RepoFile)}
    files = staged.files()
    added = [
        CommitOperationAdd(path_in_repo=name, path_or_fileobj=path)
        for name, path in files.items()
        if name not in remote or not _same(remote[name], path)
    ]
    gone = [name for name in remote if name in staged.known and name not in files]
    return [*added, *(CommitOperationDelete(path_in_repo=name) for name in gone)]


def create(api: HfApi, staged: StagedRepo, private: bool) -> None:
    """Create the repository; that it is there already, perhaps by a request whose answer got lost, is no error."""
    sdk = "gradio" if staged.kind == "space" else None

    def once() -> None:
        try:
            api.create_repo(staged.name, repo_type=staged.kind, private=private or None, space_sdk=sdk)
        except HUB_ERRORS:
            if not fetch_state(api, staged, MAIN).exists:
                raise

    with_retries(once)


def commit(
    api: HfApi, staged: StagedRepo, operations: Iterable[Operation], head: str, branch: str, by_pull_request: bool
) -> str:
    """Upload, make one commit on top of ``head``, and return its id, or the address of the pull request.

    Raises:
        UserError: if the branch has moved on; nothing is overwritten.
    """
    operations = [*operations]
    added = [operation for operation in operations if isinstance(operation, CommitOperationAdd)]
    # create_commit would do so too, but is tried again as a whole
    api.preupload_lfs_files(
        staged.name,
        added,
        repo_type=staged.kind,
        revision=branch,
        create_pr=by_pull_request,
        free_memory=False,
    )

    tried = False

    def once() -> str:
        nonlocal tried
        # an earlier try may have done it, and the look that followed it failed too
        if tried and (landed := find_commit(api, staged, head, branch, by_pull_request)):
            return landed
        tried = True
        try:
            info = api.create_commit(
                staged.name,
                operations,
                commit_message=COMMIT_TITLE,
                repo_type=staged.kind,
                revision=branch,
                parent_commit=head,
                create_pr=by_pull_request,
            )
        except HUB_ERRORS:
            if landed := find_commit(api, staged, head, branch, by_pull_request):
                return landed
            raise
        return info.pr_url or info.oid

    return with_retries(once)


def find_open_pull_request(api: HfApi, staged: StagedRepo) -> str | None:
    """Return the address of an open pull request of wine_gpt's that has all of the staged files."""
    for request in api.get_repo_discussions(
        staged.name, repo_type=staged.kind, discussion_type="pull_request", discussion_status="open"
    ):
        if request.title == COMMIT_TITLE and not plan_changes(api, staged, f"refs/pr/{request.num}"):
            return request.url
    return None


def with_retries(call: Callable[[], ResultT]) -> ResultT:
    """Call, and call again after a wait where the Hub is busy, broken or out of reach for the moment."""
    for pause in PAUSES:
        try:
            return call()
        except HUB_ERRORS as error:
            if not is_transient(error):
                raise
            wait = _retry_after(error)
            wait = pause if wait is None else wait
            print(f"{describe_error(error)}; trying again in {wait:g} s", file=sys.stderr)
        time.sleep(wait)
    return call()


def is_transient(error: BaseException) -> bool:
    """Tell whether the same request may well succeed later."""
    if isinstance(error, HfHubHTTPError):
        return error.response.status_code in TRANSIENT_STATUS
    # an answer that is no JSON comes from a proxy or a server that is not up yet
    return isinstance(error, httpx2.TransportError) or type(error).__name__ == "JSONDecodeError"


def status_of(error: BaseException) -> int | None:
    """Return the HTTP status behind an error, if there is one."""
    return next((cause.response.status_code for cause in _causes(error) if isinstance(cause, HfHubHTTPError)), None)


def describe_error(error: BaseException) -> str:
    """Return what happened in one line: status, what the Hub says, the request's id; or the connection's trouble."""
    for cause in _causes(error):
        if isinstance(cause, HfHubHTTPError):
            said = f", {one_line(Exception(cause.server_message))}" if cause.server_message else ""
            return f"status {cause.response.status_code}{said} (request id {cause.request_id})"
        if isinstance(cause, httpx2.TimeoutException):
            return "the Hub did not answer in time"
        if isinstance(cause, httpx2.TransportError):
            return f"the connection to the Hub failed: {one_line(cause)}"
    # a key that an answer lacks says nothing by itself
    lacks = isinstance(error, KeyError | ValueError)
    return f"the Hub's answer was not understood: {one_line(error)}" if lacks else one_line(error)


def _limit_waiting() -> None:
    """Have huggingface_hub's client give up a connection on which nothing happens, whatever it asks for itself."""
    hooks = get_session().event_hooks["request"]

    def limit(request: httpx2.Request) -> None:
        request.extensions["timeout"] = httpx2.Timeout(TIMEOUT).as_dict()

    set_client_factory(lambda: httpx2.Client(event_hooks={"request": [*hooks, limit]}, follow_redirects=True))


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _retry_after(error: BaseException) -> float | None:
    headers = error.response.headers if isinstance(error, HfHubHTTPError) else {}
    text = headers.get("Retry-After", "")
    return float(text) if text.isdigit() else None


def _same(remote: RepoFile, path: Path) -> bool:
    if remote.size != path.stat().st_size:
        return False
    if remote.lfs is None:
        return bool(remote.blob_id == git_hash(path.read_bytes()))
    with path.open("rb") as file:
        return bool(remote.lfs.sha256 == sha_fileobj(file).hex())


def find_commit(api: HfApi, staged: StagedRepo, head: str, branch: str, by_pull_request: bool) -> str | None:
    """Return the commit, or the pull request, that is there although no answer said so."""
    if by_pull_request:
        return find_open_pull_request(api, staged)
    now = fetch_state(api, staged, branch).head
    if now is None or now == head:
        return None
    if plan_changes(api, staged, now):
        raise UserError(f"{staged.title}: remote moved {head[:7]} → {now[:7]}; not overwritten")
    return now


def _require_free(api: HfApi, staged: StagedRepo) -> None:
    """Refuse a name that another type has: most likely two options were mixed up."""
    for kind in KINDS.keys() - {staged.kind}:
        if with_retries(partial(api.repo_exists, staged.name, repo_type=kind)):
            raise UserError(f"{staged.name} is a {KINDS[kind]} on the Hub, not a {KINDS[staged.kind]}: name another")


def _require_role(account: dict[str, Any], staged: StagedRepo) -> None:
    """Check what whoami tells of the token, which is all there is to go by where a repository is yet to be created."""
    namespace = staged.name.split("/")[0]
    token = account.get("auth", {}).get("accessToken", {})
    if token.get("role") == "read" or not _scopes_write(token, namespace, staged.name):
        raise UserError(
            f"{staged.title}: the token may not write there (permission repo.write): "
            "make one that may at https://huggingface.co/settings/tokens"
        )
    roles = {entry["name"]: entry.get("roleInOrg") for entry in account.get("orgs", [])}
    if namespace != account["name"] and roles.get(namespace, "read") == "read":
        raise UserError(f"{staged.title}: {account['name']} has no write permission in {namespace}")


def _scopes_write(token: dict[str, Any], namespace: str, name: str) -> bool:
    if token.get("role") != "fineGrained":
        return True
    scopes = token.get("fineGrained", {}).get("scoped", [])
    named = [scope for scope in scopes if scope.get("entity", {}).get("name") in (namespace, name)]
    return any("repo.write" in scope.get("permissions", []) for scope in named)
