"""Where a model is: in a folder of this machine, or on the Hub under an id such as org/name."""

import contextlib
import difflib
import logging
import os
import re
from pathlib import Path
from typing import Literal

import httpx2
import huggingface_hub.utils
from huggingface_hub import HfApi, snapshot_download
from huggingface_hub.constants import DEFAULT_REVISION
from huggingface_hub.errors import (
    GatedRepoError,
    HFValidationError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
)

from wine_gpt.errors import UserError, one_line
from wine_gpt.files import write_atomically
from wine_gpt.progress import bars_on_terminals_only
from wine_gpt.run_folder import (
    ADAPTER_CONFIG,
    ADAPTER_WEIGHTS,
    GENERATION_CONFIG,
    MODEL_CONFIG,
    RUNS,
    TEMPLATE,
    TOKENIZER,
    TOKENIZER_CONFIG,
    is_hub_id,
)

logger = logging.getLogger(__name__)

# the files that are downloaded of a model or an adapter on the Hub; large models have several files of weights
MODEL_FILES = (
    *(MODEL_CONFIG, GENERATION_CONFIG, "model*.safetensors", "model.safetensors.index.json"),
    *(ADAPTER_CONFIG, ADAPTER_WEIGHTS, TEMPLATE),
)
# those of a tokenizer: another version of transformers may have written OPTIONAL_TOKENIZER_FILES; old models have the
# files of SLOW_TOKENIZER only, which transformers converts
OPTIONAL_TOKENIZER_FILES = ("special_tokens_map.json", "added_tokens.json")
SLOW_TOKENIZER = ("vocab.json", "merges.txt", "*.model")
TOKENIZER_FILES = (TOKENIZER, TOKENIZER_CONFIG, *OPTIONAL_TOKENIZER_FILES, *SLOW_TOKENIZER)

# seconds after which the Hub counts as not reachable
TIMEOUT = 10.0
GATED_ADVICE = "accept its terms on its page, and log in with hf auth login"


def local_folder(model: str | Path, kind: Literal["model", "tokenizer"] = "model") -> Path:
    """Return a folder, or that of the downloaded files of a model on the Hub.

    The Hub is asked once for the newest revision, and only for files that are not in its cache. Resolve a name once
    and use the folder after that.

    Args:
        model: what was named: a folder, or an id on the Hub.
        kind: what it should be, which decides what is downloaded.

    Raises:
        UserError: if it is no folder and can be no id on the Hub, the Hub has no such model or refuses it, or the Hub
            can't be reached and the files are not in its cache.
    """
    name = os.path.expanduser(model)
    # Path.is_dir raises for a name that is too long
    if os.path.isdir(name):
        return Path(name)
    if not is_hub_id(name):
        raise UserError(f"{kind}: {describe_missing(name, 'a model on the Hub is named owner/name')}")
    patterns = [*TOKENIZER_FILES, *(MODEL_FILES if kind == "model" else ())]
    try:
        revision = HfApi().model_info(name, timeout=TIMEOUT).sha
        with bars_on_terminals_only(huggingface_hub.utils):
            folder = Path(snapshot_download(name, revision=revision, allow_patterns=patterns))
        _record_revision(folder)
    except GatedRepoError as error:
        raise UserError(f"{kind}: {name} is gated: {GATED_ADVICE}") from error
    except RepositoryNotFoundError as error:
        raise UserError(
            f"{kind}: {describe_missing(name)}; nor has the Hub such a model, unless it is private: hf auth login"
        ) from error
    except HFValidationError as error:
        raise UserError(f"{kind}: {describe_missing(name)}; nor is it an id on the Hub: {one_line(error)}") from error
    # an answer that is no JSON, as of a login page, is a ValueError; hf_xet raises RuntimeError
    except (httpx2.HTTPError, OSError, ValueError, RuntimeError) as error:
        return _cached_folder(name, kind, patterns, error)
    return folder


def _cached_folder(name: str, kind: str, patterns: list[str], error: Exception) -> Path:
    """Return the files of a model in the Hub's cache, because the Hub can't be reached."""
    try:
        folder = Path(snapshot_download(name, allow_patterns=patterns, local_files_only=True))
    except LocalEntryNotFoundError:
        raise UserError(
            f"{kind}: {describe_missing(name)}; nor can it be downloaded from the Hub: {one_line(error)}"
        ) from error
    if not isinstance(error, OfflineModeIsEnabled):
        logger.warning("%s: the files of %s are those of the Hub's cache: %s", kind, name, one_line(error))
    return folder


def _record_revision(folder: Path) -> None:
    """Record a snapshot as that of the branch main, by which the cache is read if the Hub can't be reached."""
    branch = folder.parents[1] / "refs" / DEFAULT_REVISION
    # a cache that can't be written
    with contextlib.suppress(OSError):
        branch.parent.mkdir(exist_ok=True)
        write_atomically(branch, folder.name)


def describe_missing(model: str, advice: str = "") -> str:
    """Return the error for a model that is no folder: it names the most similar one, or what to do.

    Args:
        model: what was named.
        advice: what to do if neither the name nor the folders here show what was meant.
    """
    address = re.match(r"(https?://)?(www\.)?(huggingface\.co|hf\.co)/([\w.-]+/[\w.-]+)", model)
    similar = _similar_folder(model)
    if address:
        advice = f"the model's id on the Hub is {address[4]}"
    elif similar:
        advice = f"did you mean {similar}?"
    elif Path(model).parts[:1] == (RUNS,):
        advice = f"train it first: pretrain with --output_dir {model}"
    return "; ".join(filter(None, [f"no such folder: {model or repr(model)}", advice]))


def _similar_folder(model: str) -> Path | None:
    """Return the model's folder whose name is most similar, beside the missing one, here or among the runs."""
    parents = dict.fromkeys((Path(model).parent, Path(), Path(RUNS)))
    folders = {
        file.parent.name: file.parent
        for parent in parents
        if os.path.isdir(parent)
        for name in (MODEL_CONFIG, ADAPTER_CONFIG, TOKENIZER)
        for file in sorted(parent.glob(f"*/{name}"))
    }
    nearest = difflib.get_close_matches(Path(model).name, folders, n=1)
    return folders[nearest[0]] if nearest else None
