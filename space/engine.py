"""Load a model with its adapters, and generate with it."""

import copy
import functools
import sys
import threading
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import snapshot_download
from peft import PeftConfig, PeftModel, get_peft_model_state_dict
from safetensors import safe_open
from tokenizers.models import WordLevel
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    DynamicCache,
    GenerationConfig,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)

import validation
from i18n import UserFacingError
from model_source import ModelSource

try:
    from wine_gpt.generation.prompts import TokenizedPrompt, join, tokenize_prompts
    from wine_gpt.generation.sampler import APPLIED, TokenSampler, guide
except ModuleNotFoundError:
    # in a Space, into which publishing copies the files
    from prompts import TokenizedPrompt, join, tokenize_prompts  # type: ignore[no-redef]
    from sampler import APPLIED, TokenSampler, guide  # type: ignore[no-redef]

BASE = "base"
ADAPTER_WEIGHTS = "adapter_model.safetensors"
ADAPTER_FILES = ("adapter_config.json", ADAPTER_WEIGHTS)
# a text is streamed in pieces of this length; the first piece is one word, so that something appears at once
SECONDS_PER_PIECE = 0.05
# the first letters of a generation config's fields that sample no word, or that the page sets
OTHER_SETTINGS = ("_", "bos_", "eos_", "pad_", "max_", "output_", "return_", "use_", "cache_", "transformers_")


@dataclass(frozen=True)
class Settings:
    """Validated sampling settings; ``length`` is the maximum number of new words, a ``guidance`` of 1 is none."""

    temperature: float
    top_p: float
    length: int
    seed: int
    guidance: float = 1.0


@dataclass(frozen=True)
class Prompt(TokenizedPrompt):
    """A tokenized prompt of the page.

    Attributes:
        words: the words as typed, each with the white space before it; "" for [BOS].
        known: for each word, whether it is in the vocabulary.
    """

    words: list[str]
    known: list[bool]


class Engine:
    """A model, its tokenizer and its adapters, for several threads: a lock serializes the calls.

    Attributes:
        adapters: the label of each adapter on the page, by its name in the API.
        positions: maximum number of tokens of a text, [BOS] included.
        problems: an error that names the adapters that could not be loaded, and one that names the settings of the
            model's generation config that are not applied, if there are any.
    """

    def __init__(self, source: ModelSource, adapters: Sequence[ModelSource] = ()) -> None:
        """Load the model and its adapters.

        Raises:
            UserFacingError: if there is no valid model; the message names repository and revision.
        """
        self.source = source
        self.tokenizer = _load_tokenizer(source)
        self._model: PreTrainedModel | PeftModel = _load_model(source)
        self.adapters: dict[str, str] = {}
        self.problems: list[UserFacingError] = []
        self._load_adapters(adapters)
        self._model.eval()
        self._eager = _eager_copy(self._model)
        self._lock = threading.Lock()
        self.positions = int(self._model.config.max_position_embeddings)
        defaults = self._model.generation_config
        self._suppressed = list(defaults.suppress_tokens or [])
        self._top_k = defaults.top_k
        self.temperature = _clamp(defaults.temperature or 1.0, validation.TEMPERATURES)
        self.top_p = _clamp(defaults.top_p or 1.0, validation.TOP_PS)
        if ignored := _ignored_settings(defaults):
            self.problems.append(UserFacingError("problem_ignored", names=", ".join(ignored)))

    @property
    def layers(self) -> int:
        """The model's number of layers."""
        return int(self._model.config.num_hidden_layers)

    @property
    def heads(self) -> int:
        """The number of heads of each layer."""
        return int(self._model.config.num_attention_heads)

    @functools.cached_property
    def unit(self) -> str:
        """What a token is: word, character or token (a word or a piece of one)."""
        core = self.tokenizer.backend_tokenizer
        if not isinstance(core.model, WordLevel):
            return "token"
        # only a vocabulary of characters has the space
        return "word" if core.token_to_id(" ") is None else "character"

    @functools.cached_property
    def keeps_capitals(self) -> bool:
        """Whether a prompt's capitals matter."""
        return "A" in self.decode(self.tokenizer("A", add_special_tokens=False)["input_ids"])

    def knows(self, name: str) -> bool:
        """Return whether every word of a name is in the vocabulary."""
        ids = self.tokenizer(name, add_special_tokens=False, split_special_tokens=True)["input_ids"]
        return bool(ids) and self.tokenizer.unk_token_id not in ids

    def encode(self, field: str, text: str) -> Prompt:
        """Tokenize a prompt.

        Raises:
            UserFacingError: if the prompt leaves no position for a new word.
        """
        (prompt,) = tokenize_prompts(self.tokenizer, [text])
        if len(prompt.ids) >= self.positions:
            raise UserFacingError(
                "problem_positions", field=field, count=len(prompt.ids) - 1, most=self.positions - 2, unit=self.unit
            )
        words, end = [], 0
        for start, stop in prompt.offsets:
            words.append(prompt.text[end:stop] if stop > start else "")
            end = max(end, stop)
        # [BOS] may have the id of [UNK]
        known = [True, *(index != self.tokenizer.unk_token_id for index in prompt.ids[1:])]
        return Prompt(prompt.text, prompt.ids, prompt.offsets, words, known)

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text that tokens add to a prompt."""
        return str(self.tokenizer.decode(list(ids), skip_special_tokens=True))

    def continued(self, prompt: Prompt, ids: Sequence[int]) -> str:
        """Return the text of a prompt and of the tokens after it."""
        return join(prompt.text, self.decode(ids))

    def is_complete(self, prompt: Sequence[int], ids: Sequence[int], settings: Settings) -> bool:
        """Return whether the tokens after a prompt end the text or reach its length."""
        ended = bool(ids) and ids[-1] == self.tokenizer.eos_token_id
        return ended or len(ids) >= min(settings.length, self.positions - len(prompt))

    def label(self, index: int) -> str:
        """Return the word of an id, or ∎ for [EOS]; a space that belongs to a token is ␣."""
        entry = str(self.tokenizer.convert_ids_to_tokens(index))
        if self.unit == "token" and "\ufffd" not in (decoded := self.decode([index])):
            entry = decoded
        return "∎" if index == self.tokenizer.eos_token_id else entry.replace(" ", "␣")

    def save_merged(self, adapter: str, folder: Path) -> None:
        """Write the whole model with an adapter merged into it, because the explorer runs whole models only.

        Raises:
            Exception: if peft can't merge an adapter of this kind, or the folder can't be written.
        """
        with self._lock:
            adapted: Any = copy.deepcopy(self._model)
        adapted.merge_and_unload(adapter_names=[adapter]).save_pretrained(folder)

    @contextmanager
    def using(self, adapter: str, attention: bool = False) -> Iterator[PreTrainedModel | PeftModel]:
        """Lock the model and yield it with an adapter or without one.

        Args:
            adapter: its name, or :data:`BASE`.
            attention: whether the model must return attention weights.
        """
        model = self._eager if attention else self._model
        with self._lock, torch.inference_mode():
            if not isinstance(model, PeftModel):
                yield model
            elif adapter == BASE:
                with model.disable_adapter():
                    yield model
            else:
                if model.active_adapter != adapter:
                    model.set_adapter(adapter)
                yield model

    def write(
        self, ids: Sequence[int], settings: Settings, adapter: str, negative: Sequence[int] | None = None
    ) -> Iterator[list[int]]:
        """Continue a text and yield the new ids in pieces; the last id is [EOS] unless the length ended the text.

        Without guidance the ids are those that transformers' ``generate`` samples with the same settings after
        ``set_seed(seed)``.

        Args:
            ids: the prompt's.
            settings: the sampling settings.
            adapter: as for :meth:`using`.
            negative: the ids of the prompt that the guidance contrasts with ``ids``; without another prompt there is
                no guidance.
        """
        sample = self._sampler(settings)
        guided = settings.guidance != 1 and list(negative or ids) != list(ids)
        # a row of ids, and the cache of what precedes them, for the prompt and for the negative prompt
        rows = [torch.tensor([list(row)]) for row in ([ids, negative or ids] if guided else [ids])]
        caches = [DynamicCache(config=self._model.config) for _ in rows]
        ends = torch.tensor([self.tokenizer.eos_token_id])
        left = min(settings.length, self.positions - len(ids))
        ended = False
        while left and not ended:
            piece: list[int] = []
            # the first piece is one word
            until = time.perf_counter() + (SECONDS_PER_PIECE if len(rows[0][0]) == 1 else 0)
            with self.using(adapter) as model:
                while left and not ended and (not piece or time.perf_counter() < until):
                    logits = [
                        model(row, cache=cache, use_cache=True, logits_to_keep=1).logits[:, -1]
                        for row, cache in zip(rows, caches, strict=True)
                    ]
                    new = sample(guide(logits[0], logits[1], settings.guidance, ends) if guided else logits[0])
                    rows = [new[:, None]] * len(rows)
                    piece.append(int(new))
                    left -= 1
                    ended = piece[-1] == self.tokenizer.eos_token_id
            yield piece

    def _sampler(self, settings: Settings) -> TokenSampler:
        config = GenerationConfig(
            do_sample=True,
            temperature=settings.temperature,
            top_k=self._top_k,
            top_p=settings.top_p,
            suppress_tokens=self._suppressed,
        )
        return TokenSampler(config, generator=torch.Generator().manual_seed(settings.seed))

    def probabilities(self, logits: torch.Tensor, temperature: float) -> torch.Tensor:
        """Return softmax(logits / temperature) without the suppressed tokens: float32 of the logits' shape."""
        allowed = logits.float().clone()
        allowed[..., self._suppressed] = -torch.inf
        return (allowed / temperature).softmax(dim=-1)

    def _load_adapters(self, adapters: Sequence[ModelSource]) -> None:
        loaded: dict[str, Path] = {}
        failed: list[str] = []
        for adapter in adapters:
            name, folder = adapter_name(self.source, adapter), None
            try:
                if name in (BASE, *loaded):
                    raise ValueError(f"another model is called {name}")
                folder = _adapter_folder(adapter)
                self._model = _add_adapter(self._model, name, folder)
            # peft raises the errors of all its dependencies; the page works without this adapter
            except Exception as error:
                print(f"adapter {adapter}: {type(error).__name__}: {error}", file=sys.stderr)
                failed.append(str(adapter))
                if folder is not None:
                    self._reload(loaded)
            else:
                loaded[name] = folder
                self.adapters[name] = name.replace("-", " ").title()
        if failed:
            self.problems.append(UserFacingError("problem_adapter", source=", ".join(failed)))

    def _reload(self, adapters: Mapping[str, Path]) -> None:
        """Load the model with its adapters again, because an adapter that failed may have changed it."""
        self._model = _load_model(self.source)
        for name, folder in adapters.items():
            self._model = _add_adapter(self._model, name, folder)


def _ignored_settings(config: GenerationConfig) -> list[str]:
    """Return the settings of a generation config that change a text and that :meth:`Engine.write` does not apply."""
    known = config.to_diff_dict().keys() & GenerationConfig().to_dict().keys()
    # the app always samples
    names = known - APPLIED | ({"do_sample"} if config.do_sample is False else set())
    return sorted(name for name in names if not name.startswith(OTHER_SETTINGS))


def _clamp(value: float, bounds: tuple[float, float]) -> float:
    return min(max(value, bounds[0]), bounds[1])


def _eager_copy(model: PreTrainedModel | PeftModel) -> PreTrainedModel | PeftModel:
    """Return a copy that shares the model's tensors and returns attention weights.

    Only the attention implementation "eager" returns weights; the others silently return none.
    """
    shared = {id(tensor): tensor for tensor in (*model.parameters(), *model.buffers())}
    eager = copy.deepcopy(model, shared)
    # get_base_model is typed as any Module
    base: Any = eager.get_base_model() if isinstance(eager, PeftModel) else eager
    base.set_attn_implementation("eager")
    return eager


def adapter_name(model: ModelSource, adapter: ModelSource) -> str:
    """Return an adapter's name in the API: ``pinot-noir`` for ``org/wine-gpt-pinot-noir`` of ``org/wine-gpt``."""
    last, own = adapter.short_name, model.short_name
    # without dots, because peft uses the name as a module's name
    return last.removeprefix(f"{own}-").replace(".", "-") or last


def _load_model(source: ModelSource) -> PreTrainedModel:
    """Load weights from safetensors only, without running the repository's code."""
    loaded, report = _load(
        source,
        AutoModelForCausalLM,
        use_safetensors=True,
        ignore_mismatched_sizes=True,
        output_loading_info=True,
    )
    model: PreTrainedModel = loaded
    if any(report[key] for key in ("missing_keys", "unexpected_keys", "mismatched_keys")):
        raise UserFacingError("problem_weights", source=source)
    if not all(parameter.isfinite().all() for parameter in model.parameters()):
        raise UserFacingError("problem_finite", source=source)
    # BLOOM, for one, has no maximum
    if not hasattr(model.config, "max_position_embeddings"):
        raise UserFacingError("problem_architecture", source=source)
    return model


def _load_tokenizer(source: ModelSource) -> PreTrainedTokenizerFast:
    tokenizer = _load(source, AutoTokenizer)
    if not isinstance(tokenizer, PreTrainedTokenizerFast) or None in (
        tokenizer.bos_token_id,
        tokenizer.eos_token_id,
        tokenizer.unk_token_id,
    ):
        raise UserFacingError("problem_tokenizer", source=source)
    return tokenizer


def _load(source: ModelSource, kind: Any, **options: Any) -> Any:  # noqa: ANN401 - of transformers' Auto classes
    revision = {} if source.version is None else {"revision": source.version}
    try:
        return kind.from_pretrained(source.name, trust_remote_code=False, **revision, **options)
    # transformers, tokenizers and safetensors share no exception class, and tokenizers raises bare Exceptions
    except Exception as error:
        print(f"model {source}: {type(error).__name__}: {error}", file=sys.stderr)
        raise UserFacingError("problem_model", source=source) from error


def _adapter_folder(adapter: ModelSource) -> Path:
    """Return a folder whose adapter peft loads from safetensors."""
    if adapter.revision is None:
        folder = Path(adapter.name)
    else:
        folder = Path(snapshot_download(adapter.name, revision=adapter.revision, allow_patterns=list(ADAPTER_FILES)))
    missing = [name for name in ADAPTER_FILES if not (folder / name).is_file()]
    if missing:
        raise FileNotFoundError(f"no {missing[0]}")
    return folder


def _add_adapter(model: PreTrainedModel | PeftModel, name: str, folder: Path) -> PeftModel:
    if PeftConfig.from_pretrained(str(folder)).is_prompt_learning:
        raise ValueError("it is one of prompt tuning, which can't be merged into the model")
    with warnings.catch_warnings():
        # peft only warns of missing keys
        warnings.simplefilter("error", UserWarning)
        if isinstance(model, PeftModel):
            model.load_adapter(str(folder), adapter_name=name, torch_device="cpu")
        else:
            model = PeftModel.from_pretrained(model, str(folder), adapter_name=name, torch_device="cpu")
    # peft ignores tensors that fit no parameter
    own = get_peft_model_state_dict(model, adapter_name=name, save_embedding_layers=False)
    with safe_open(folder / ADAPTER_WEIGHTS, framework="pt") as tensors:
        unknown = set(tensors.keys()) - own.keys() - model.state_dict().keys()
    if unknown:
        raise ValueError(f"the model has no parameter for its tensor {min(unknown)}")
    if not all(parameter.isfinite().all() for parameter in model.parameters()):
        raise ValueError("its weights have NaN or infinity")
    return model
