"""Check, before anything is created, that a token may write to the repositories to publish."""

from dataclasses import dataclass
from functools import partial
from typing import Any

from huggingface_hub import HfApi, get_token

from wine_gpt.errors import UserError
from wine_gpt.publishing.hub import (
    HUB_ERRORS,
    KINDS,
    HubError,
    RemoteState,
    StagedRepo,
    describe_error,
    fetch_state,
    status_of,
    with_retries,
)


@dataclass(frozen=True)
class Account:
    """A token's owner and what the token may write."""

    name: str
    # organization to the owner's role in it
    roles: dict[str, str | None]
    read_only: bool
    # accounts and repositories that a fine-grained token may write to; None if the token is not fine-grained
    scopes: frozenset[str] | None

    @classmethod
    def from_whoami(cls, answer: dict[str, Any]) -> "Account":
        """Parse the JSON of the Hub's ``whoami``, which has no type in huggingface_hub."""
        token = answer.get("auth", {}).get("accessToken", {})
        scopes = None
        if token.get("role") == "fineGrained":
            scopes = frozenset(
                scope.get("entity", {}).get("name")
                for scope in token.get("fineGrained", {}).get("scoped", [])
                if "repo.write" in scope.get("permissions", [])
            )
        return cls(
            name=answer["name"],
            roles={entry["name"]: entry.get("roleInOrg") for entry in answer.get("orgs", [])},
            read_only=token.get("role") == "read",
            scopes=scopes,
        )


def connect() -> tuple[HfApi, Account]:
    """Return a client of the Hub and the account of its token.

    Raises:
        UserError: if there is no token, or it is not valid.
        HubError: if a request fails.
    """
    if get_token() is None:
        raise UserError("no token: log in with hf auth login, or set HF_TOKEN")
    api = HfApi(library_name="wine_gpt")
    try:
        return api, Account.from_whoami(with_retries(api.whoami))
    except HUB_ERRORS as error:
        if status_of(error) == 401:
            raise UserError("the token is not valid: log in again with hf auth login, or set HF_TOKEN") from error
        raise HubError(f"whoami: {describe_error(error)}") from error


def require_access(api: HfApi, account: Account, repo: StagedRepo) -> RemoteState:
    """Check that the token may create or change the repository, and return the repository's state.

    Raises:
        UserError: if a repository of another kind has the name, or the token may not write to it.
        HubError: if a request fails.
    """
    try:
        remote = with_retries(lambda: fetch_state(api, repo))
        if not remote.exists:
            _require_free_name(api, repo)
        if repo.create_pr:
            if not remote.head:
                raise UserError(f"{repo.title} has no branch {repo.branch} for a pull request")
            return remote
        _require_role(account, repo)
        if remote.exists:
            with_retries(lambda: api.auth_check(repo.name, repo_type=repo.kind, write=True))
    except HUB_ERRORS as error:
        if status_of(error) == 403:
            raise UserError(f"{repo.title}: {account.name} has no write permission") from error
        raise HubError(f"{repo.title}: {describe_error(error)}") from error
    return remote


def _require_free_name(api: HfApi, repo: StagedRepo) -> None:
    """Refuse a name that a repository of another kind has, because --repo and --space were probably swapped."""
    for kind in KINDS.keys() - {repo.kind}:
        if with_retries(partial(api.repo_exists, repo.name, repo_type=kind)):
            raise UserError(f"{repo.name} is a {KINDS[kind]} on the Hub, not a {KINDS[repo.kind]}: name another")


def _require_role(account: Account, repo: StagedRepo) -> None:
    """Check the token's role, because the Hub has no write check for a repository that does not exist yet."""
    namespace = repo.name.split("/")[0]
    in_scope = account.scopes is None or not account.scopes.isdisjoint((namespace, repo.name))
    if account.read_only or not in_scope:
        raise UserError(
            f"{repo.title}: the token has no write permission (repo.write): "
            "create one that has at https://huggingface.co/settings/tokens"
        )
    if namespace != account.name and account.roles.get(namespace, "read") == "read":
        raise UserError(f"{repo.title}: {account.name} has no write permission in {namespace}")
