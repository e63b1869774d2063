"""Find what an earlier publish put on the Hub and this one keeps, because no option asks to remove it."""

import logging
import re
from collections.abc import Collection
from dataclasses import dataclass, replace
from fnmatch import filter as matching
from functools import partial

import yaml
from huggingface_hub import HfApi, RepoCard, RepoFile, get_session, hf_hub_url
from huggingface_hub.errors import EntryNotFoundError, GatedRepoError
from huggingface_hub.utils import build_hf_headers, hf_raise_for_status  # type: ignore[attr-defined]

from wine_gpt.errors import UserError
from wine_gpt.files import sha256
from wine_gpt.publishing.hub import HUB_ERRORS, MAIN, HubError, RemoteState, StagedRepo, describe_error, with_retries
from wine_gpt.publishing.published_files import CARD, EPOCH_FILES, NGRAM_INDEX, ONNX, ONNX_QUANTIZED
from wine_gpt.run_folder import WEIGHTS

logger = logging.getLogger(__name__)

SPACE_LINK = re.compile(r"https://huggingface\.co/spaces/([\w.-]+/[\w.-]*\w)")
# the option that adds the files of a glob pattern
OPTION_OF_PATTERN = {
    **dict.fromkeys((ONNX, ONNX_QUANTIZED), "onnx"),
    NGRAM_INDEX: "index",
    **dict.fromkeys(EPOCH_FILES, "epochs"),
}


@dataclass(frozen=True)
class Kept:
    """What stays published.

    Attributes:
        files: those of :data:`OPTION_OF_PATTERN` that stay.
        space: the demo that the model's card links.
        adapters: the adapters in the metadata of the model's card.
        rows: the rows of the card's table of fine-tuned models, in Markdown.
    """

    files: tuple[str, ...] = ()
    space: str | None = None
    adapters: tuple[str, ...] = ()
    rows: tuple[str, ...] = ()

    @property
    def changes_cards(self) -> bool:
        """Whether the cards differ from those that are staged without knowing the Hub."""
        return bool(self.files or self.space or self.fine_tuned)

    @property
    def fine_tuned(self) -> tuple[str, ...]:
        """The repositories of all fine-tuned models."""
        return tuple(dict.fromkeys([*(_linked(row) for row in self.rows), *self.adapters]))


NOTHING_KEPT = Kept()


def find_kept(
    api: HfApi,
    model: StagedRepo,
    remote: RemoteState,
    published: Collection[str],
    unwanted: Collection[str] = (),
    look_for_space: bool = True,
) -> Kept:
    """Compare the model's repository on the Hub with the staged one, and log what is kept and what goes.

    Files and fine-tuned models of other weights are not kept, because they no longer belong to the model.

    Args:
        api: the Hub's client.
        model: the staged model.
        remote: the model's repository on the Hub.
        published: the names of all repositories that are published now.
        unwanted: files of :data:`OPTION_OF_PATTERN` that an option asks to remove.
        look_for_space: whether the card may name the demo that it names now.

    Raises:
        UserError: if the repository is gated, and the token's owner has not accepted its terms.
        HubError: if a request fails.
    """
    if not remote.exists:
        return Kept()
    revision = remote.head or MAIN
    try:
        files = with_retries(lambda: _list_files(api, model.name, revision))
        card = with_retries(lambda: _read_card(api, model.name, revision))
        same_weights = files.get(WEIGHTS) == sha256(model.folder / WEIGHTS)
        absent = [path for path in OPTION_OF_PATTERN if matching(files, path) and not matching(model.files(), path)]
        kept_files = tuple(path for path in absent if _keep_file(model, unwanted, same_weights, path))
        kept = _keep_models(api, model, card, published, same_weights, replaces=remote.head is not None)
        space = _find_space(api, card) if look_for_space else None
    except GatedRepoError as error:
        raise UserError(f"{model.title} is gated: accept its terms at {model.url(api)}") from error
    except HUB_ERRORS as error:
        raise HubError(f"{model.title}: reading what was published: {describe_error(error)}") from error
    for name in (*kept.fine_tuned, *([space] if space else [])):
        logger.info(f"{model.title}: the card still names {name}, which was published earlier")
    return replace(kept, files=kept_files, space=space)


def _keep_file(model: StagedRepo, unwanted: Collection[str], same_weights: bool, path: str) -> bool:
    """Return whether a file that is not staged stays, and log why."""
    option = OPTION_OF_PATTERN[path]
    if path in unwanted:
        reason = f"because the option {option} is false"
    elif not same_weights:
        reason = f"because it was made for other weights; the option {option} makes a new one"
    else:
        logger.info(f"{model.title}: {path} is kept as published earlier, unless the option {option} is false")
        return True
    logger.info(f"{model.title}: {path} is removed, {reason}")
    return False


def _keep_models(
    api: HfApi, model: StagedRepo, card: str, published: Collection[str], same_weights: bool, replaces: bool
) -> Kept:
    """Return the fine-tuned models that the card still lists: those of the same weights that still exist.

    An adapter names its base's repository and branch. If publishing ``replaces`` that branch's weights, the adapter is
    loaded on the new ones.
    """
    rows = [row for row in card.splitlines() if row.startswith("|") and _linked(row).startswith(f"{model.name}-")]
    adapters = _listed_adapters(card)
    kept = []
    for name in dict.fromkeys([*map(_linked, rows), *adapters]):
        if name in published:
            continue
        if not same_weights:
            advice = (
                " but is loaded on the new ones from now on: fine-tune it again, delete it, or publish the new "
                "weights with another revision"
            )
            logger.info(
                f"{model.title}: the card no longer lists {name}, which was fine-tuned from other weights"
                f"{advice if replaces and name in adapters else ''}"
            )
        elif with_retries(partial(api.repo_exists, name)):
            kept.append(name)
    return Kept(
        adapters=tuple(name for name in adapters if name in kept),
        rows=tuple(row for row in rows if _linked(row) in kept),
    )


def _find_space(api: HfApi, card: str) -> str | None:
    """Return the demo that the card links, if it still exists."""
    link = SPACE_LINK.search(card)
    return link[1] if link and with_retries(lambda: api.repo_exists(link[1], repo_type="space")) else None


def _list_files(api: HfApi, name: str, revision: str) -> dict[str, str | None]:
    """Return each file's SHA-256 if Git LFS or Xet stores it, None otherwise."""
    entries = api.list_repo_tree(name, recursive=True, revision=revision)
    return {entry.path: entry.lfs.sha256 if entry.lfs else None for entry in entries if isinstance(entry, RepoFile)}


def _read_card(api: HfApi, name: str, revision: str) -> str:
    """Return the card's text, an empty one if there is no card."""
    url = hf_hub_url(name, CARD, revision=revision, endpoint=api.endpoint)
    response = get_session().get(url, headers=build_hf_headers(token=api.token, library_name="wine_gpt"))
    try:
        hf_raise_for_status(response)
    except EntryNotFoundError:
        return ""
    return response.text


def _listed_adapters(card: str) -> list[str]:
    if not card.startswith("---"):
        # huggingface_hub would warn
        return []
    try:
        listed = RepoCard(card, ignore_metadata_errors=True).data.to_dict().get("adapters")
    except (ValueError, yaml.YAMLError):
        return []
    return [name for name in listed if isinstance(name, str)] if isinstance(listed, list) else []


def _linked(row: str) -> str:
    """Return the model that a row of the card's table links."""
    link = re.search(r"\]\(https://huggingface\.co/([\w.-]+/[\w.-]+)\)", row)
    return link[1] if link else ""
