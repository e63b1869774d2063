"""Publish a run: stage and check all repositories, then make one commit in each, the model's first."""

import dataclasses
import logging
import shutil
import tempfile
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from pathlib import Path

from huggingface_hub import Collection, HfApi

from wine_gpt.errors import UserError, one_line
from wine_gpt.publishing import access, hub
from wine_gpt.publishing.hub import HUB_ERRORS, HubError, RemoteState, StagedRepo
from wine_gpt.publishing.published_files import CARD
from wine_gpt.publishing.staging import STAGED_FOLDERS, Publication, stage

logger = logging.getLogger(__name__)


class Outcome(StrEnum):
    """What publishing did to a repository."""

    PUBLISHED = "published"
    UP_TO_DATE = "already up to date"
    PROPOSED = "proposed"
    ALREADY_PROPOSED = "already proposed"


@dataclass(frozen=True)
class PublishedRepo:
    """A repository after publishing."""

    name: str
    # model or space
    kind: str
    url: str
    outcome: Outcome
    # the branch's head; None if the files are in a pull request only
    commit: str | None = None
    # the pull request's address
    pull_request: str | None = None

    def __str__(self) -> str:
        where = self.pull_request or str(self.commit)[:7]
        return f"{hub.KINDS[self.kind]} {self.name}: {self.outcome} {where}"


@dataclass(frozen=True)
class PublishResult:
    """What :func:`publish` did."""

    # model first
    repositories: tuple[PublishedRepo, ...]
    # a line for each fine-tuned model or file that is not published, and why
    left_out: tuple[str, ...] = ()
    # the collection's address
    collection: str | None = None


def publish(publication: Publication) -> PublishResult:
    """Publish the model, the fine-tuned models and the demo; repositories that are up to date get no commit.

    Before anything is created, all repositories are staged, all cards are validated, and the token's permission to
    write to each repository is checked. A failure leaves each repository in its old or its new state.

    Raises:
        UserError: if the run, a name, a card or a permission is wrong; the Hub is unchanged.
        HubError: if the Hub can't be reached or refuses a request. The state of each repository is logged, and calling
            again publishes the rest.
    """
    with tempfile.TemporaryDirectory() as folder:
        repositories, left_out = _stage(publication, Path(folder))
        api, account = access.connect()
        remotes = [access.require_access(api, account, repo) for repo in repositories]
        for repo in repositories:
            hub.validate_card(repo)
        published = _push_all(api, repositories, remotes, publication.private)
        collection = _collect(api, publication, repositories) if publication.collection else None
    return PublishResult(tuple(published), tuple(left_out), collection)


def dry_run(publication: Publication, folder: Path) -> list[StagedRepo]:
    """Write into ``folder`` what :func:`publish` would upload, and log its files, without any request.

    Folders of an earlier dry run are replaced.

    Returns:
        the repositories, model first, with their files in ``folder``.

    Raises:
        UserError: if the run, a name or a card is wrong, or ``folder`` can't be written to.
    """
    with tempfile.TemporaryDirectory() as temporary:
        repositories, _ = _stage(publication, Path(temporary))
        try:
            for kind in STAGED_FOLDERS:
                shutil.rmtree(folder / kind, ignore_errors=True)
            shutil.copytree(temporary, folder, dirs_exist_ok=True)
        except OSError as error:
            raise UserError(f"--dry_run: can't write to {folder}: {one_line(error)}") from error
    staged = [dataclasses.replace(repo, folder=folder / repo.folder.relative_to(temporary)) for repo in repositories]
    for repo in staged:
        logger.info(f"{repo.title}:")
        for name, path in repo.files().items():
            logger.info(f"  {path.stat().st_size:>12,}  {name}")
    logger.info(f"\n{staged[0].name}/{CARD}:\n\n{staged[0].card}")
    logger.info(f"nothing was uploaded: all files are in {folder}, with a {CARD} in each repository")
    return staged


def _stage(publication: Publication, folder: Path) -> tuple[list[StagedRepo], list[str]]:
    repositories, left_out = stage(publication, folder)
    for line in left_out:
        logger.info(line)
    return repositories, left_out


def _push_all(
    api: HfApi, repositories: list[StagedRepo], remotes: list[RemoteState], private: bool
) -> list[PublishedRepo]:
    """Publish the repositories in order; after a failure, log the state of the failed and all later ones."""
    published: list[PublishedRepo] = []
    for repo, remote in zip(repositories, remotes, strict=True):
        try:
            published.append(_push(api, repo, remote, private))
        except (UserError, *HUB_ERRORS) as error:
            logger.info(f"{repo.title}: {_describe_state(api, repo)}")
            done = len(published) + 1
            for other, before in zip(repositories[done:], remotes[done:], strict=True):
                logger.info(f"{other.title}: not tried, {before}")
            if isinstance(error, UserError):
                raise HubError(str(error)) from error
            raise HubError(f"{repo.title}: {hub.describe_error(error)}") from error
        logger.info(str(published[-1]))
    return published


def _push(api: HfApi, repo: StagedRepo, remote: RemoteState, private: bool) -> PublishedRepo:
    """Publish one repository, unless it is up to date or has the pull request already."""
    if not remote.head:
        remote = hub.create(api, repo, remote, private)
    head = str(remote.head)
    result = partial(PublishedRepo, repo.name, repo.kind, repo.url(api))
    operations = hub.plan_changes(api, repo, head)
    if not operations:
        return result(Outcome.UP_TO_DATE, head)
    if repo.create_pr and (found := hub.with_retries(lambda: hub.find_open_pull_request(api, repo))):
        return result(Outcome.ALREADY_PROPOSED, pull_request=found.pull_request)
    done = hub.commit(api, repo, operations, head)
    return result(Outcome.PROPOSED if repo.create_pr else Outcome.PUBLISHED, done.commit, done.pull_request)


def _describe_state(api: HfApi, repo: StagedRepo) -> str:
    """Return the state of a repository after a failure."""
    try:
        return f"not published, {hub.fetch_state(api, repo)}"
    except HUB_ERRORS as error:
        return f"probably not published; its state could not be read: {hub.describe_error(error)}"


def _collect(api: HfApi, publication: Publication, repositories: list[StagedRepo]) -> str:
    """Add the repositories to their owner's collection, which is created if needed, and return its address."""
    title = str(publication.collection)
    owner = publication.repo.split("/")[0]
    try:
        collection = hub.with_retries(
            lambda: api.create_collection(title, namespace=owner, private=publication.private, exists_ok=True)
        )
        for repo in repositories:
            if not _contains(collection, repo):
                hub.with_retries(partial(_add_item, api, collection.slug, repo))
    except HUB_ERRORS as error:
        raise HubError(f"collection {title}: {hub.describe_error(error)}; the repositories are published") from error
    logger.info(f"collection: {collection.url}")
    return collection.url


def _add_item(api: HfApi, slug: str, repo: StagedRepo) -> None:
    try:
        api.add_collection_item(slug, repo.name, repo.kind)  # type: ignore[arg-type] # a Literal of kinds
    except HUB_ERRORS:
        # an earlier try may have added it although its response was lost
        if not _contains(api.get_collection(slug), repo):
            raise


def _contains(collection: Collection, repo: StagedRepo) -> bool:
    return any((item.item_type, item.item_id) == (repo.kind, repo.name) for item in collection.items)
