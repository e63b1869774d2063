"""The model behind the page: loading it with its adapters, and writing with it."""

import sys
import threading
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import snapshot_download
from peft import PeftModel
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    DynamicCache,
    GenerationConfig,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)

import checks
from source import Source
from texts import Problem

try:
    # publishing copies the file into the Space
    from sampler import TokenSampler
except ModuleNotFoundError:
    from wine_gpt.generation.sampler import TokenSampler

BASE = "base"
ADAPTER_FILES = ("adapter_config.json", "adapter_model.safetensors")
# a text goes to the page in pieces, the first word at once
SECONDS_PER_PIECE = 0.05


@dataclass(frozen=True)
class Settings:
    """How words are drawn: numbers within the bounds of :mod:`checks`."""

    temperature: float
    top_p: float
    length: int
    seed: int


@dataclass(frozen=True)
class Prompt:
    """A beginning.

    Attributes:
        ids: of its words, the start of the text first.
        words: as typed, each with what stands before it; the start of the text is empty.
        known: whether the model knows the word.
    """

    ids: list[int]
    words: list[str]
    known: list[bool]


class Engine:
    """A model, its tokenizer and its adapters; calls from several threads take turns.

    Attributes:
        adapters: what each adapter is called on the page, by the name that the API knows it by.
        positions: how many words a text can have, its start included.
        problems: the adapters that could not be loaded.
    """

    def __init__(self, source: Source, adapters: Sequence[Source] = ()) -> None:
        """Load everything.

        Raises:
            Problem: if there is no sound model there; the message names repository and revision.
        """
        self.source = source
        self.tokenizer = _load_tokenizer(source)
        self._model: PreTrainedModel | PeftModel = _load_model(source)
        self.adapters: dict[str, str] = {}
        self.problems: list[Problem] = []
        self._load_adapters(adapters)
        self._model.eval()
        self._lock = threading.Lock()
        self.positions = int(self._model.config.max_position_embeddings)
        defaults = self._model.generation_config
        self._suppressed = list(defaults.suppress_tokens or [])
        self._top_k = defaults.top_k
        self.temperature = min(max(defaults.temperature or 1.0, checks.TEMPERATURES[0]), checks.TEMPERATURES[1])
        self.top_p = min(max(defaults.top_p or 1.0, checks.TOP_PS[0]), checks.TOP_PS[1])

    @property
    def layers(self) -> int:
        """How many layers the model has."""
        return int(self._model.config.num_hidden_layers)

    @property
    def heads(self) -> int:
        """How many heads each layer has."""
        return int(self._model.config.num_attention_heads)

    def knows(self, name: str) -> bool:
        """Tell whether every word of a name is in the vocabulary."""
        ids = self.tokenizer(name, add_special_tokens=False)["input_ids"]
        return bool(ids) and self.tokenizer.unk_token_id not in ids

    def encode(self, field: str, text: str) -> Prompt:
        """Return a beginning's words.

        Raises:
            Problem: if it leaves no place for one more word.
        """
        encoding = self.tokenizer(text.rstrip(), return_offsets_mapping=True, verbose=False)
        ids = encoding["input_ids"]
        if len(ids) >= self.positions:
            raise Problem("problem_room", field=field, count=len(ids) - 1, most=self.positions - 2)
        words, end = [], 0
        for start, stop in encoding["offset_mapping"]:
            words.append(text[end:stop] if stop > start else "")
            end = max(end, stop)
        return Prompt(ids, words, [index != self.tokenizer.unk_token_id for index in ids])

    def spaced_words(self, ids: Sequence[int]) -> list[str]:
        """Return what each generated word adds to the text; the end of the text adds nothing."""
        words, text, decoded = [], "", []
        for index in ids:
            decoded.append(index)
            longer = str(self.tokenizer.decode(decoded, skip_special_tokens=True))
            words.append(longer[len(text) :])
            text = longer
        return words

    def label(self, index: int) -> str:
        """Return a word as the vocabulary has it, ∎ for the end of a text."""
        return "∎" if index == self.tokenizer.eos_token_id else str(self.tokenizer.convert_ids_to_tokens(index))

    @contextmanager
    def using(self, adapter: str) -> Iterator[PreTrainedModel | PeftModel]:
        """Have the model to oneself, with an adapter or as the base."""
        with self._lock, torch.inference_mode():
            if not isinstance(self._model, PeftModel):
                yield self._model
            elif adapter == BASE:
                with self._model.disable_adapter():
                    yield self._model
            else:
                if self._model.active_adapter != adapter:
                    self._model.set_adapter(adapter)
                yield self._model

    @contextmanager
    def attending(self, adapter: str) -> Iterator[PreTrainedModel | PeftModel]:
        """Have the model as :meth:`using` does, such that it returns attention; faster ways silently return none."""
        with self.using(adapter) as model:
            # PeftModel hands on what it lacks, which its types don't say
            plain: PreTrainedModel = model.get_base_model() if isinstance(model, PeftModel) else model  # type: ignore[assignment]
            implementation = plain.config._attn_implementation
            plain.set_attn_implementation("eager")
            try:
                yield model
            finally:
                plain.set_attn_implementation(implementation)

    def write(self, ids: Sequence[int], settings: Settings, adapter: str) -> Iterator[list[int]]:
        """Continue a text, in pieces; the last word is the end of the text if the model came to it.

        The words are those that transformers' ``generate`` draws with the same settings after ``set_seed(seed)``.
        """
        sample = self._sampler(settings)
        cache = DynamicCache(config=self._model.config)
        room = min(settings.length, self.positions - len(ids))
        new = torch.tensor([list(ids)])
        ended = False
        while room and not ended:
            piece: list[int] = []
            # the first piece is one word
            until = time.perf_counter() + (SECONDS_PER_PIECE if len(new[0]) == 1 else 0)
            with self.using(adapter) as model:
                while room and not ended and (not piece or time.perf_counter() < until):
                    logits = model(new, cache=cache, use_cache=True, logits_to_keep=1).logits[:, -1].float()
                    new = sample(logits)[:, None]
                    chosen = int(new)
                    piece.append(chosen)
                    room -= 1
                    ended = chosen == self.tokenizer.eos_token_id
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
        """Return softmax(logits / temperature) without the words that are never written: float32 of the same shape."""
        allowed = logits.float().clone()
        allowed[..., self._suppressed] = -torch.inf
        return (allowed / temperature).softmax(dim=-1)

    def _load_adapters(self, adapters: Sequence[Source]) -> None:
        loaded: dict[str, Path] = {}
        for adapter in adapters:
            name = adapter_name(self.source, adapter)
            try:
                folder = _adapter_folder(adapter)
                self._model = _add_adapter(self._model, name, folder)
            # peft raises whatever its parts raise; the page goes on without this adapter
            except Exception as error:
                print(f"adapter {adapter}: {type(error).__name__}: {error}", file=sys.stderr)
                self.problems.append(Problem("problem_adapter", source=adapter))
                # what a failed one may have left in the model
                self._model = _load_model(self.source)
                for done, its_folder in loaded.items():
                    self._model = _add_adapter(self._model, done, its_folder)
            else:
                loaded[name] = folder
                self.adapters[name] = name.replace("-", " ").title()


def adapter_name(model: Source, adapter: Source) -> str:
    """Return ``pinot-noir`` for ``org/wine-gpt-pinot-noir`` of ``org/wine-gpt``, and for a folder of that name."""
    last, own = Path(adapter.name).name, Path(model.name).name
    # a dot would part a module's name
    return last.removeprefix(f"{own}-").replace(".", "-") or last


def _load_model(source: Source) -> PreTrainedModel:
    """Load weights from safetensors only, and never code of the repository's own."""
    loaded, report = _load(
        source,
        AutoModelForCausalLM,
        use_safetensors=True,
        ignore_mismatched_sizes=True,
        output_loading_info=True,
    )
    model: PreTrainedModel = loaded
    wrong = [*report["missing_keys"], *report["mismatched_keys"]]
    if wrong:
        raise Problem("problem_weights", source=source)
    if not all(parameter.isfinite().all() for parameter in model.parameters()):
        raise Problem("problem_finite", source=source)
    return model


def _load_tokenizer(source: Source) -> PreTrainedTokenizerFast:
    tokenizer = _load(source, AutoTokenizer)
    if not isinstance(tokenizer, PreTrainedTokenizerFast) or None in (
        tokenizer.bos_token_id,
        tokenizer.eos_token_id,
        tokenizer.unk_token_id,
    ):
        raise Problem("problem_tokenizer", source=source)
    return tokenizer


def _load(source: Source, kind: Any, **options: Any) -> Any:  # noqa: ANN401 - of transformers' Auto classes
    revision = {} if source.revision is None else {"revision": source.revision}
    try:
        return kind.from_pretrained(source.name, trust_remote_code=False, **revision, **options)
    # transformers, tokenizers and safetensors have no exception in common, tokenizers raises bare ones
    except Exception as error:
        print(f"model {source}: {type(error).__name__}: {error}", file=sys.stderr)
        raise Problem("problem_model", source=source) from error


def _adapter_folder(adapter: Source) -> Path:
    """Return a folder with nothing that peft could take but safetensors."""
    if adapter.revision is None:
        folder = Path(adapter.name)
    else:
        folder = Path(snapshot_download(adapter.name, revision=adapter.revision, allow_patterns=list(ADAPTER_FILES)))
    missing = [name for name in ADAPTER_FILES if not (folder / name).is_file()]
    if missing:
        raise FileNotFoundError(f"no {missing[0]}")
    return folder


def _add_adapter(model: PreTrainedModel | PeftModel, name: str, folder: Path) -> PeftModel:
    with warnings.catch_warnings():
        # of keys that are missing
        warnings.simplefilter("error", UserWarning)
        if isinstance(model, PeftModel):
            model.load_adapter(str(folder), adapter_name=name, torch_device="cpu")
        else:
            model = PeftModel.from_pretrained(model, str(folder), adapter_name=name, torch_device="cpu")
    if not all(parameter.isfinite().all() for parameter in model.parameters()):
        raise ValueError("its weights hold NaN or infinity")
    return model
