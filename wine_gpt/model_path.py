"""Where a model is: in a folder of this machine, or on the Hub under an id such as org/name."""

import difflib
import os
import re
from pathlib import Path

import httpx2
from huggingface_hub import HfApi, try_to_load_from_cache
from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled, RepositoryNotFoundError

from wine_gpt.errors import UserError, one_line
from wine_gpt.run_folder import ADAPTER_CONFIG, MODEL_CONFIG, RUNS, TOKENIZER, is_hub_id

# seconds after which the Hub counts as not reachable
TIMEOUT = 10.0


def require_available(model: str, kind: str = "model") -> None:
    """Check that a model is a folder, or else may be loaded from the Hub.

    The Hub is asked once, because transformers retries an unreachable Hub for more than a minute.

    Args:
        model: what was named.
        kind: what it should be, for messages: model or tokenizer.

    Raises:
        UserError: if it is no folder and can be no id on the Hub, the Hub has no such model, or it can't be reached
            and the model is not in its cache.
    """
    # Path.is_dir raises for a name that is too long
    if os.path.isdir(model):
        return
    if not is_hub_id(model):
        raise UserError(f"{kind}: {describe_missing(model, 'a model on the Hub is named owner/name')}")
    try:
        HfApi().model_info(model, timeout=TIMEOUT)
    except (OfflineModeIsEnabled, HfHubHTTPError) as error:
        # other answers of the Hub are reported by the loading
        if isinstance(error, RepositoryNotFoundError):
            raise UserError(
                f"{kind}: {describe_missing(model)}; nor has the Hub such a model, unless it is private: hf auth login"
            ) from error
    except httpx2.HTTPError as error:
        cached = (try_to_load_from_cache(model, name) for name in (MODEL_CONFIG, TOKENIZER))
        if not any(isinstance(file, str) for file in cached):
            raise UserError(
                f"{kind}: {describe_missing(model)}; nor can the Hub be reached for that id: {one_line(error)}"
            ) from error


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
