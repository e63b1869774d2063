"""Publishing: all repositories are staged and checked, then each gets one commit, the model's first."""

import shutil
import tempfile
from functools import partial
from pathlib import Path

from huggingface_hub import Collection, HfApi

from wine_gpt.errors import UserError, one_line
from wine_gpt.publishing import hub
from wine_gpt.publishing.hub import HUB_ERRORS, MAIN, HubError, RemoteState, StagedRepo
from wine_gpt.publishing.staging import CARD, STAGED_FOLDERS, Publication, stage


def publish(publication: Publication) -> None:
    """Publish model, fine-tuned models and demo; what is on the Hub as it should be already is left alone.

    Before anything is created, everything is staged, every card is validated, and the token's right to write to every
    repository is checked. Then each repository is left at its old or its new state, whatever happens.

    Raises:
        UserError: if something is not as it must be; the Hub is then as it was.
        HubError: if the Hub can't be reached or refuses. What became of each repository is printed, and the same call
            again does the rest.
    """
    with tempfile.TemporaryDirectory() as folder:
        repositories, left_out = stage(publication, Path(folder))
        for line in left_out:
            print(line)
        api, account = hub.connect()
        remotes = [
            hub.require_access(api, account, staged, publication.branch(staged), publication.create_pr)
            for staged in repositories
        ]
        for staged in repositories:
            hub.validate(staged)
        _push_all(api, publication, repositories, remotes)
        if publication.collection:
            _collect(api, publication, repositories)


def dry_run(publication: Publication, folder: Path) -> None:
    """Stage into ``folder``, in place of an earlier rehearsal, and print what would be uploaded; nothing goes out.

    Raises:
        UserError: as :func:`publish` does for what can be told without the Hub.
    """
    with tempfile.TemporaryDirectory() as temporary:
        repositories, left_out = stage(publication, Path(temporary))
        for line in left_out:
            print(line)
        for staged in repositories:
            print(f"{staged.title}:")
            for name, path in staged.files().items():
                print(f"  {path.stat().st_size:>12,}  {name}")
        try:
            for kind in STAGED_FOLDERS:
                shutil.rmtree(folder / kind, ignore_errors=True)
            shutil.copytree(temporary, folder, dirs_exist_ok=True)
        except OSError as error:
            raise UserError(f"--dry_run: can't write to {folder}: {one_line(error)}") from error
    print(f"\n{repositories[0].name}/{CARD}:\n\n{repositories[0].card}")
    print(f"nothing was uploaded: it is all in {folder}, with a {CARD} in each repository")


def _push_all(
    api: HfApi, publication: Publication, repositories: list[StagedRepo], remotes: list[RemoteState]
) -> None:
    waiting = list(zip(repositories, remotes, strict=True))
    while waiting:
        staged, remote = waiting.pop(0)
        try:
            outcome = _push(api, publication, staged, remote)
        except (UserError, *HUB_ERRORS) as error:
            print(f"{staged.title}: {_standing(api, staged, publication.branch(staged))}")
            for other, before in waiting:
                print(f"{other.title}: not tried, {before}")
            if isinstance(error, UserError):
                raise HubError(str(error)) from error
            raise HubError(f"{staged.title}: {hub.describe_error(error)}") from error
        print(f"{staged.title}: {outcome}")


def _push(api: HfApi, publication: Publication, staged: StagedRepo, remote: RemoteState) -> str:
    """Bring one repository to its new state and return how it came about."""
    branch, by_pull_request = publication.branch(staged), publication.create_pr
    if not remote.exists:
        hub.create(api, staged, publication.private)
    if not remote.head:
        remote = _with_branch(api, staged, branch)
    head = str(remote.head)
    operations = hub.plan_changes(api, staged, head)
    if not operations:
        return f"already up to date {head[:7]}"
    if by_pull_request and (address := hub.with_retries(lambda: hub.find_open_pull_request(api, staged))):
        return f"already proposed {address}"
    done = hub.commit(api, staged, operations, head, branch, by_pull_request)
    return f"proposed {done}" if by_pull_request else f"published {done[:7]}"


def _with_branch(api: HfApi, staged: StagedRepo, branch: str) -> RemoteState:
    if branch != MAIN:
        hub.with_retries(lambda: api.create_branch(staged.name, branch=branch, repo_type=staged.kind, exist_ok=True))
    return hub.with_retries(lambda: hub.fetch_state(api, staged, branch))


def _standing(api: HfApi, staged: StagedRepo, branch: str) -> str:
    """Say how a repository stands after a failure."""
    try:
        return f"not published, {hub.fetch_state(api, staged, branch)}"
    except HUB_ERRORS as error:
        return f"not published as far as is known; how it stands could not be read: {hub.describe_error(error)}"


def _collect(api: HfApi, publication: Publication, repositories: list[StagedRepo]) -> None:
    """Put the repositories into a collection, which is made unless its owner has one of that title."""
    title = str(publication.collection)
    owner = publication.repo.split("/")[0]
    try:
        collection = hub.with_retries(
            lambda: api.create_collection(title, namespace=owner, private=publication.private, exists_ok=True)
        )
        for staged in repositories:
            if not _holds(collection, staged):
                hub.with_retries(partial(_add, api, collection.slug, staged))
    except HUB_ERRORS as error:
        raise HubError(f"collection {title}: {hub.describe_error(error)}; the repositories are published") from error
    print(f"collection: {collection.url}")


def _add(api: HfApi, slug: str, staged: StagedRepo) -> None:
    """Add a repository; that it is there already, perhaps by a request whose answer got lost, is no error."""
    try:
        api.add_collection_item(slug, staged.name, staged.kind)  # type: ignore[arg-type] # of three words
    except HUB_ERRORS:
        if not _holds(api.get_collection(slug), staged):
            raise


def _holds(collection: Collection, staged: StagedRepo) -> bool:
    return any((item.item_type, item.item_id) == (staged.kind, staged.name) for item in collection.items)
