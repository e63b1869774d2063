"""Check, before anything is created, that a token may write to the repositories to publish."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Self

from huggingface_hub import HfApi, get_token
from huggingface_hub.errors import RepositoryNotFoundError

from wine_gpt.errors import UserError
from wine_gpt.publishing.hub import (
    HUB_ERRORS,
    KINDS,
    HubError,
    RemoteState,
    StagedRepo,
    StagedRepos,
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
    # accounts whose collections a fine-grained token may change
    collection_scopes: frozenset[str] | None
    # the accounts, of the owner and the organizations, that have a paid plan
    paid: frozenset[str] = frozenset()

    @classmethod
    def from_whoami(cls, answer: dict[str, Any]) -> Self:
        """Parse the JSON of the Hub's ``whoami``, which has no type in huggingface_hub."""
        token = answer.get("auth", {}).get("accessToken", {})
        return cls(
            name=answer["name"],
            roles={entry["name"]: entry.get("roleInOrg") for entry in answer.get("orgs", [])},
            read_only=token.get("role") == "read",
            scopes=_scopes(token, "repo.write"),
            collection_scopes=_scopes(token, "collection.write"),
            paid=frozenset(entry["name"] for entry in [answer, *answer.get("orgs", [])] if _is_paid(entry)),
        )


def _is_paid(entry: dict[str, Any]) -> bool:
    """Return whether a user has PRO, or an organization a plan, by the Hub's ``whoami``."""
    return bool(entry.get("isPro") or entry.get("isEnterprise") or entry.get("plan") not in (None, "", "free"))


def _scopes(token: dict[str, Any], permission: str) -> frozenset[str] | None:
    """Return where a fine-grained token has the permission, None if the token is not fine-grained."""
    if token.get("role") != "fineGrained":
        return None
    return frozenset(
        scope.get("entity", {}).get("name")
        for scope in token.get("fineGrained", {}).get("scoped", [])
        if permission in scope.get("permissions", [])
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


def choose_space_sdk(api: HfApi, account: Account, name: str) -> tuple[str, str]:
    """Return ``gradio`` or ``static`` for a demo, and why: a Space that exists keeps its kind.

    Raises:
        HubError: if a request fails.
    """
    try:
        found = with_retries(lambda: api.space_info(name)).sdk
    except RepositoryNotFoundError:
        found = None
    except HUB_ERRORS as error:
        raise HubError(f"Space {name}: {describe_error(error)}") from error
    if found is not None:
        return ("static" if found == "static" else "gradio"), f"the Space has the SDK {found}"
    owner = name.split("/")[0]
    if owner in account.paid:
        return "gradio", f"{owner} has a paid plan"
    return "static", f"{owner} has no paid plan, which the Hub wants for a new Gradio Space"


def require_access(api: HfApi, account: Account, repo: StagedRepo, names: Sequence[str]) -> RemoteState:
    """Check that the token may create or change the repository, and return the repository's state.

    Args:
        api: the Hub's client.
        account: the token's owner.
        repo: to publish.
        names: names of all repositories to publish; a model and its Space may share one.

    Raises:
        UserError: if the repository has another name on the Hub or holds a model for another task, a repository of
            another kind has the name, or the token may not write to it.
        HubError: if a request fails.
    """
    try:
        remote = with_retries(lambda: fetch_state(api, repo))
        if remote.exists:
            _require_same_name(api, repo, remote)
            _require_same_task(repo, remote)
        elif names.count(repo.name) == 1:
            _require_free_name(api, repo)
        if repo.create_pr:
            _require_pull_requests(account, repo, remote)
            return remote
        _require_role(account, repo)
        if remote.exists:
            with_retries(lambda: api.auth_check(repo.name, repo_type=repo.kind, write=True))
    except HUB_ERRORS as error:
        if status_of(error) == 403:
            raise UserError(f"{repo.title}: {account.name} has no write permission") from error
        raise HubError(f"{repo.title}: {describe_error(error)}") from error
    return remote


def require_visibility(
    api: HfApi, repositories: StagedRepos, remotes: Mapping[str, RemoteState], private: bool
) -> None:
    """Check that nothing becomes public by mistake; ``remotes`` has the state of each repository by its title.

    Raises:
        UserError: if ``private`` is asked for and a repository is public, or it is not asked for and the model is
            private while another repository would be created.
    """
    model = repositories.model
    for repo in repositories:
        remote = remotes[repo.title]
        if private and remote.exists and not remote.private:
            raise UserError(
                f"{repo.title} is public, and --private makes only new repositories private: "
                f"make it private at {repo.url(api)}/settings, or omit --private"
            )
        if not private and not remote.exists and remotes[model.title].private:
            # the Hub does not say whether the account's new repositories are private
            raise UserError(f"{model.title} is private, but {repo.title} may become public: add --private")


def require_collection_access(account: Account, title: str, owner: str) -> None:
    """Check that the token may create or change the owner's collection.

    Raises:
        UserError: if it may not.
    """
    in_scope = account.collection_scopes is None or owner in account.collection_scopes
    if account.read_only or not in_scope:
        raise UserError(
            f"collection {title}: the token has no write permission for collections (collection.write) of {owner}: "
            "create one that has at https://huggingface.co/settings/tokens"
        )
    if not _may_write_in(account, owner):
        raise UserError(f"collection {title}: {account.name} has no write permission in {owner}")


def _may_write_in(account: Account, owner: str) -> bool:
    return owner == account.name or account.roles.get(owner, "read") != "read"


def _require_same_name(api: HfApi, repo: StagedRepo, remote: RemoteState) -> None:
    """Refuse a name that the Hub redirects, because the cards and the collection need the current one."""
    if remote.name != repo.name:
        raise UserError(
            f"{repo.title} is named {remote.name} on the Hub: use that name, "
            f"or rename it at {replace(repo, name=remote.name).url(api)}/settings"
        )


def _require_same_task(repo: StagedRepo, remote: RemoteState) -> None:
    """Refuse to replace a model for another task, such as a base by its classifier, whose other files would stay."""
    task = repo.card.data.to_dict().get("pipeline_tag")
    if remote.task and task and remote.task != task:
        raise UserError(
            f"{repo.title} holds a {remote.task} model, which a {task} model would replace: "
            f"name another repository, such as {repo.name}-{task.split('-')[-1]}"
        )


def _require_free_name(api: HfApi, repo: StagedRepo) -> None:
    """Refuse a name that a repository of another kind has, because --repo and --space were probably swapped."""
    for kind in KINDS.keys() - {repo.kind}:
        if with_retries(partial(api.repo_exists, repo.name, repo_type=kind)):
            raise UserError(f"{repo.name} is a {KINDS[kind]} on the Hub, not a {KINDS[repo.kind]}: name another")


def _require_role(account: Account, repo: StagedRepo) -> None:
    """Check the token's role, because the Hub has no write check for a repository that does not exist yet."""
    namespace, name = repo.name.split("/")
    for known in (account.name, *account.roles):
        if known != namespace and known.casefold() == namespace.casefold():
            raise UserError(f"{repo.title}: the account is named {known} on the Hub: use {known}/{name}")
    in_scope = account.scopes is None or not account.scopes.isdisjoint((namespace, repo.name))
    if account.read_only or not in_scope:
        raise _without_permission(repo)
    if not _may_write_in(account, namespace):
        raise UserError(f"{repo.title}: {account.name} has no write permission in {namespace}")


def _require_pull_requests(account: Account, repo: StagedRepo, remote: RemoteState) -> None:
    """Check that there is something to open a pull request against, and that the token may open one.

    The account needs no role in the repository. What permission a fine-grained token needs is left to the Hub.
    """
    if not remote.exists:
        raise UserError(f"{repo.title} does not exist, so nothing can be changed: publish once without --create_pr")
    if not remote.head:
        raise UserError(f"{repo.title} has no branch {repo.branch} for a pull request")
    if account.read_only:
        raise _without_permission(repo)


def _without_permission(repo: StagedRepo) -> UserError:
    return UserError(
        f"{repo.title}: the token has no write permission (repo.write): "
        "create one that has at https://huggingface.co/settings/tokens"
    )
