"""Publish a run: stage and check all repositories, then make one commit in each, the model's first."""

import dataclasses
import logging
import shlex
import shutil
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from pathlib import Path

from huggingface_hub import CommitOperationDelete, HfApi

from wine_gpt.config import ZERO_GPU
from wine_gpt.errors import UserError, one_line
from wine_gpt.installation import bundled
from wine_gpt.publishing import access, hub
from wine_gpt.publishing.access import Account
from wine_gpt.publishing.hub import HUB_ERRORS, HubError, RemoteState, StagedRepo, StagedRepos
from wine_gpt.publishing.kept import NOTHING_KEPT, OPTION_OF_PATTERN, Kept, find_kept
from wine_gpt.publishing.leaks import require_no_leak
from wine_gpt.publishing.publication import Publication
from wine_gpt.publishing.published_files import CARD
from wine_gpt.publishing.staging import STAGED_FOLDERS, StagedFiles, stage, write_cards

logger = logging.getLogger(__name__)

# the state of each repository on the Hub, by its title
Remotes = dict[str, RemoteState]

PAYMENT_REQUIRED = 402


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
    private: bool
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
    # a line for each fine-tuned model, file or link that is not published, and why
    left_out: tuple[str, ...] = ()
    # the collection's address
    collection: str | None = None
    # why the Hub did not create the demo's Space, and what to do; None if it did or no demo was asked for
    space_refused: str | None = None


def publish(publication: Publication) -> PublishResult:
    """Publish the model, the fine-tuned models and the demo; repositories that are up to date get no commit.

    Before anything is created, all repositories are staged, all cards are validated, and the token's permission to
    write to each repository is checked. A failure leaves each repository in its old or its new state. If the Hub asks
    for a paid plan to create the Space, all else is published, and the result says so.

    Raises:
        UserError: if the run, a name, a card or a permission is wrong; the Hub is unchanged.
        HubError: if the Hub can't be reached or refuses a request. The state of each repository is logged, and calling
            again publishes the rest.
        RemoteMovedError: if somebody else has committed meanwhile, whose change calling again would replace.
    """
    # before the samples and the ONNX file are made, which takes long
    api, account = access.connect()
    publication = _choose_sdk(publication, api, account)
    with tempfile.TemporaryDirectory() as folder:
        staged = stage(publication, Path(folder))
        repositories = write_cards(staged)
        remotes = _require_access(publication, repositories, api, account)
        # publishing adds no options' files to a classifier's repository
        kept = NOTHING_KEPT if staged.classifier else _find_kept(api, publication, repositories, remotes)
        left_out = _log_left_out(staged, kept)
        if kept.changes_cards:
            repositories = write_cards(staged, kept)
        require_no_leak(repositories, publication.run, staged.run.data_source)
        for repo in repositories:
            hub.validate_card(repo)
        remotes, space_refused = _create_space(api, repositories, remotes, publication.private)
        if space_refused:
            repositories = write_cards(staged, kept, with_space=False)
        published = _push_all(api, repositories, remotes, publication.private)
        collection = _collect(api, publication, repositories) if publication.collection else None
        for space in repositories.spaces if published[0].private else ():
            _warn_of_private_model(api, repositories.model, space)
    return PublishResult(tuple(published), left_out, collection, space_refused)


def dry_run(publication: Publication, folder: Path) -> list[StagedRepo]:
    """Write into ``folder`` what :func:`publish` would upload, and log its files, without any request.

    Folders of an earlier dry run are replaced.

    Returns:
        the repositories, model first, with their files in ``folder``.

    Raises:
        UserError: if the run, a name or a card is wrong, or ``folder`` can't be written to.
    """
    with tempfile.TemporaryDirectory() as temporary:
        staged_files = stage(publication, Path(temporary))
        repositories = write_cards(staged_files)
        require_no_leak(repositories, publication.run, staged_files.run.data_source)
        _log_left_out(staged_files)
        try:
            for kind in STAGED_FOLDERS:
                shutil.rmtree(folder / kind, ignore_errors=True)
            shutil.copytree(temporary, folder, dirs_exist_ok=True)
        except OSError as error:
            raise UserError(f"--dry_run: can't write to {folder}: {one_line(error)}") from error
    staged = [dataclasses.replace(repo, folder=folder / repo.folder.relative_to(temporary)) for repo in repositories]
    for repo in staged:
        logger.info(f"{repo.title}{f', {repo.space_sdk}' if repo.space_sdk else ''}:")
        for name, path in repo.files().items():
            logger.info(f"  {path.stat().st_size:>12,}  {name}")
    logger.info(f"\n{staged[0].name}/{CARD}:\n\n{staged[0].card}")
    logger.info(f"nothing was uploaded: all files are in {folder}, with a {CARD} in each repository")
    return staged


def _log_left_out(staged: StagedFiles, kept: Kept = NOTHING_KEPT) -> tuple[str, ...]:
    """Log and return a line for each thing that is left out, but not for a file that stays on the Hub."""
    lines = tuple(left_out.reason for left_out in staged.left_out if left_out.file not in kept.files)
    for line in lines:
        logger.info(line)
    return lines


def _choose_sdk(publication: Publication, api: HfApi, account: Account) -> Publication:
    """Choose between the Gradio app and the explorer by the Space on the Hub, or by its owner's plan, and log why.

    Raises:
        HubError: if a request fails.
    """
    if publication.space is None or publication.space_sdk != "auto":
        return publication
    sdk, reason = access.choose_space_sdk(api, account, publication.space)
    published = {
        "gradio": "the Gradio app",
        "static": "the explorer, a static page that runs in the visitor's browser",
    }
    logger.info(f"Space {publication.space}: {published[sdk]}, because {reason}; the option space_sdk chooses")
    return dataclasses.replace(publication, space_sdk=sdk)


def _require_access(publication: Publication, repositories: StagedRepos, api: HfApi, account: Account) -> Remotes:
    """Check all permissions and names, and return the state of each repository."""
    names = [repo.name for repo in repositories]
    remotes = {repo.title: access.require_access(api, account, repo, names) for repo in repositories}
    access.require_visibility(api, repositories, remotes, publication.private)
    if publication.collection is not None:
        access.require_collection_access(account, publication.collection, publication.repo.split("/")[0])
    return remotes


def _find_kept(api: HfApi, publication: Publication, repositories: StagedRepos, remotes: Remotes) -> Kept:
    names = [repo.name for repo in repositories]
    unwanted = [file for file, option in OPTION_OF_PATTERN.items() if getattr(publication, option) is False]
    model = repositories.model
    return find_kept(api, model, remotes[model.title], names, unwanted, publication.space is None)


def _create_space(
    api: HfApi, repositories: StagedRepos, remotes: Remotes, private: bool
) -> tuple[Remotes, str | None]:
    """Create the demo's Space, if it does not exist, before the model's card can link it.

    Returns:
        the states of the repositories; and one line if the Hub asks for a paid plan, so that no Space is published.
    """
    model = repositories.model
    for space in repositories.spaces:
        if remotes[space.title].head:
            continue
        try:
            remotes = {**remotes, space.title: hub.create(api, space, remotes[space.title], private)}
        except HUB_ERRORS as error:
            if hub.status_of(error) == PAYMENT_REQUIRED:
                return remotes, (
                    f"{space.title} was not created: {hub.describe_error(error)}; the Hub wants a paid plan for a "
                    "Gradio Space on a CPU, and all else is published. Free: publish again with the option space_sdk "
                    "static, which publishes the explorer; or, in a personal account older than 30 days, with "
                    f"space_hardware {ZERO_GPU}, two Spaces at most; or the demo on your own computer: "
                    f"WINE_GPT_MODEL={model.name} {_demo_command()}"
                )
            _log_states(api, space, (model, *repositories.subset_models), remotes)
            raise HubError(f"{space.title}: {hub.describe_error(error)}") from error
    return remotes, None


def _demo_command() -> str:
    """Return the command that starts the demo, which an installed package has in its own folder."""
    app = bundled("space") / "app.py"
    return shlex.join(["python", str(app.relative_to(Path.cwd()) if app.is_relative_to(Path.cwd()) else app)])


def _warn_of_private_model(api: HfApi, model: StagedRepo, space: StagedRepo) -> None:
    """Warn that the Space can't load a private model: a Gradio Space needs a secret, the explorer can't at all."""
    if space.space_sdk == "static":
        logger.warning(
            f"{space.title} can't load {model.name}, which is private: the explorer reads public models only"
        )
        return
    with suppress(*HUB_ERRORS):
        if "HF_TOKEN" in hub.with_retries(lambda: api.get_space_secrets(space.name)):
            return
    logger.warning(
        f"{space.title} can't load {model.name}, which is private, without a secret: add HF_TOKEN, a token that may "
        f"read it, at {space.url(api)}/settings"
    )


def _push_all(api: HfApi, repositories: StagedRepos, remotes: Remotes, private: bool) -> list[PublishedRepo]:
    """Publish the repositories in order; after a failure, log the state of the failed and all later ones."""
    published: list[PublishedRepo] = []
    for repo in repositories:
        try:
            published.append(_push(api, repo, remotes[repo.title], private))
        except (HubError, *HUB_ERRORS) as error:
            _log_states(api, repo, [*repositories][len(published) + 1 :], remotes)
            if isinstance(error, HubError):
                raise
            raise HubError(f"{repo.title}: {hub.describe_error(error)}") from error
        logger.info(str(published[-1]))
    return published


def _push(api: HfApi, repo: StagedRepo, remote: RemoteState, private: bool) -> PublishedRepo:
    """Publish one repository, unless it is up to date or has the pull request already."""
    if not remote.head:
        remote = hub.create(api, repo, remote, private)
    head = str(remote.head)
    result = partial(PublishedRepo, repo.name, repo.kind, repo.url(api), private=remote.private)
    operations = hub.plan_changes(api, repo, head)
    if not operations:
        return result(Outcome.UP_TO_DATE, commit=head)
    if removed := [operation.path_in_repo for operation in operations if isinstance(operation, CommitOperationDelete)]:
        logger.info(f"{repo.title}: removes {', '.join(removed)}")
    if repo.create_pr and (found := hub.with_retries(lambda: hub.find_open_pull_request(api, repo))):
        return result(Outcome.ALREADY_PROPOSED, pull_request=found.pull_request)
    done = hub.commit(api, repo, operations, head)
    outcome = Outcome.PROPOSED if repo.create_pr else Outcome.PUBLISHED
    return result(outcome, commit=done.commit, pull_request=done.pull_request)


def _log_states(api: HfApi, failed: StagedRepo, others: Sequence[StagedRepo], remotes: Remotes) -> None:
    logger.info(f"{failed.title}: {_describe_state(api, failed)}")
    for other in others:
        logger.info(f"{other.title}: not tried, {remotes[other.title]}")


def _describe_state(api: HfApi, repo: StagedRepo) -> str:
    """Return the state of a repository after a failure."""
    try:
        return f"not published, {hub.fetch_state(api, repo)}"
    except HUB_ERRORS as error:
        return f"probably not published; its state could not be read: {hub.describe_error(error)}"


def _collect(api: HfApi, publication: Publication, repositories: StagedRepos) -> str:
    """Add the repositories to their owner's collection, which is created if needed, and return its address."""
    title = str(publication.collection)
    owner = publication.repo.split("/")[0]
    try:
        collection = hub.with_retries(
            lambda: api.create_collection(title, namespace=owner, private=publication.private, exists_ok=True)
        )
        for repo in repositories:
            add = partial(api.add_collection_item, collection.slug, repo.name, repo.kind, exists_ok=True)  # type: ignore[arg-type]
            hub.with_retries(add)
    except HUB_ERRORS as error:
        raise HubError(f"collection {title}: {hub.describe_error(error)}; the repositories are published") from error
    logger.info(f"collection: {collection.url}")
    return collection.url
