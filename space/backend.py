"""The functions behind the page and the API: they validate requests and run the model."""

import dataclasses
import functools
import html
import itertools
import re
import secrets
import shutil
import sys
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import attention
import template
import validation
from attention import View
from engine import BASE, Engine, Prompt, Settings
from field_values import FieldValues
from i18n import Texts, UserFacingError, page_texts
from model_source import ModelSource, choose_adapters, choose_model
from similar import load_reviews, most_similar
from template import UNKNOWN, WINE, Template

try:
    from wine_gpt.evaluation import ngram_filter
    from wine_gpt.evaluation.ngram_filter import NgramFilter
    from wine_gpt.publishing.explorer_files import is_model_file
    from wine_gpt.tokenizer.words import class_words
except ModuleNotFoundError:
    # in a Space, into which publishing copies the files
    import ngram_filter  # type: ignore[no-redef]
    from explorer_files import is_model_file  # type: ignore[no-redef]
    from ngram_filter import NgramFilter  # type: ignore[no-redef]
    from words import class_words  # type: ignore[no-redef]

if TYPE_CHECKING:
    from wine_gpt.tasks.similarity import SimilarityIndex

# prompt, model and temperature of a side of a comparison
Side = tuple[str, str, float | None]

MAX_LENGTH = 1_024
# the number of texts that the model writes to find values of the fields
SAMPLED_ROWS = 16
# the maximum number of tokens of such a text, by the unit of a token
MAX_HEADER = {"word": 40, "character": 200, "token": 60}
# the maximum number of characters of a value
MAX_VALUE = 40


@dataclass(frozen=True)
class Request:
    """A validated request to continue a prompt: the prompt, the settings and the adapter."""

    prompt: Prompt
    settings: Settings
    adapter: str


@dataclass(frozen=True)
class Written:
    """A text that the model is writing or has written.

    Attributes:
        request: what was asked for.
        ids: tokens after the prompt so far.
        text: the prompt and what was written so far.
        complete: whether the end of the text or the requested length was reached.
    """

    request: Request
    ids: tuple[int, ...]
    text: str
    complete: bool

    @property
    def link(self) -> str:
        """The query string with which the page writes this text again."""
        request = self.request
        settings, length = request.settings, request.settings.length if self.complete else len(self.ids)
        return self._query(model=request.adapter, length=length, guidance=settings.guidance, seed=settings.seed)

    @property
    def explorer_link(self) -> str:
        """The query string with which the explorer shows this text.

        It has no seed, because the explorer draws other numbers from a seed than torch, which drew this text.
        """
        ids = ".".join(map(str, self.ids))
        return self._query(model=f"./model/{self.request.adapter}/", length=self.request.settings.length, ids=ids)

    def _query(self, **more: str | float) -> str:
        settings = self.request.settings
        shared = {"temperature": settings.temperature, "top_p": settings.top_p}
        return urlencode({"prompt": self.request.prompt.text, **shared, **more})


@dataclass(frozen=True)
class CopyCheck:
    """The longest run of written words that also occurs in the training texts; ``run`` is empty without one."""

    run: tuple[str, ...]
    words: int
    index: NgramFilter


class MergedAdapters:
    """A temporary folder with the whole model of each adapter that was asked for."""

    def __init__(self) -> None:
        self._parent = tempfile.TemporaryDirectory(prefix="wine_gpt-")
        self._folders: dict[str, Path | None] = {}
        self._lock = threading.Lock()

    def folder(self, engine: Engine, adapter: str) -> Path | None:
        """Return the folder of an adapter, written at the first call; None if that failed."""
        with self._lock:
            if adapter not in self._folders:
                self._folders[adapter] = self._write(engine, adapter)
            return self._folders[adapter]

    def _write(self, engine: Engine, adapter: str) -> Path | None:
        folder = Path(self._parent.name, adapter)
        try:
            engine.save_merged(adapter, folder)
        # the disk may be full, and peft's errors for what it can't merge share no class; the page works without it
        except Exception as error:
            print(f"adapter {adapter}: {type(error).__name__}: {error}", file=sys.stderr)
            shutil.rmtree(folder, ignore_errors=True)
            return None
        return folder


class Backend:
    """The model with its index, template and values of the fields, or the reason why there is no model.

    Attributes:
        engine: the model; None if it could not be loaded.
        index: spans of the training texts; None if the model has no index.
        template: the template of the model's texts.
        field_values: the values of the fields, such as countries, whose words the model knows; none without a model.
        reviews: the training reviews to search for similar ones; None if no run is named.
        problems: errors to show to visitors.
        source: where the model is from; None if none is named.
    """

    def __init__(self) -> None:
        """Load the model that the environment or settings.json names; the page shows what goes wrong."""
        self.engine: Engine | None = None
        self.index: NgramFilter | None = None
        self.reviews: SimilarityIndex | None = None
        self.source: ModelSource | None = None
        self.template = WINE
        self.field_values = FieldValues(UNKNOWN, lambda name: False, ())
        self._merged = MergedAdapters()
        self.problems: list[UserFacingError] = []
        try:
            self.source = source = choose_model().pinned()
            self.template = UNKNOWN
            self.engine = Engine(source, self._load_adapters(source))
        except UserFacingError as problem:
            self.problems = [problem]
            return
        self.problems += self.engine.problems
        self._load_template(source)
        self.template = dataclasses.replace(self.template, keeps_capitals=self.engine.keeps_capitals)
        self._load_index(source)
        self._load_reviews()
        self.field_values = FieldValues(
            self.template, self.engine.knows, None if self.about_wine else self._sample_rows(self.engine)
        )

    @property
    def about_wine(self) -> bool:
        """Whether the model's texts are wine reviews; so are those of the class's model, if none is chosen."""
        return self.template.prefix == WINE.prefix

    @property
    def name(self) -> str:
        """The page's title."""
        return "wine_gpt" if self.about_wine or self.source is None else self.source.short_name

    @functools.cached_property
    def texts(self) -> Texts:
        """The page's texts, in the words of the model's corpus, and its problems as ``problem_0`` and so on."""
        model = self.source.markdown if self.engine and self.source else ""
        unit = self.engine.unit if self.engine else "word"
        texts = page_texts(self.about_wine, self.template.prefix, self.template.form, model, unit)
        for language, (number, problem) in itertools.product(texts, enumerate(self.problems)):
            texts[language][f"problem_{number}"] = html.escape(problem.message(language), quote=False)
        return texts

    @property
    def default_prompt(self) -> str:
        """The prefix of every text."""
        return self.template.prompt({})

    @property
    def adapters(self) -> dict[str, str]:
        """The label of each model on the page, by its name in the API; the base first."""
        return {} if self.engine is None else {BASE: "Base", **self.engine.adapters}

    @property
    def length(self) -> int:
        """The maximum number of words of a text."""
        return 80 if self.engine is None else min(self.engine.positions - 1, MAX_LENGTH)

    # ---- the API ----------------------------------------------------------------------------------------------------

    def generate(
        self,
        prompt: str | None = None,
        temperature: float | None = None,
        top_p: float | None = None,
        length: int | None = None,
        seed: int | None = None,
        model: str = BASE,
        guidance: float = 1,
    ) -> Iterator[str]:
        """Write a {text}. It is streamed: each piece is the whole text so far, the prompt included.

        Args:
            prompt: What the {text} begins with{such_as}.
            temperature: Below 1 safer, above 1 bolder, from 0.1 to 2; default: the model's own.
            top_p: Sample from the likeliest words up to this cumulative probability, 0.05 to 1; default: the model's.
            length: Maximum number of new words; default: as many as fit.
            seed: Equal seeds give equal texts, from 0 to 4294967295; default: random.
            model: "base", or the name of an adapter.
            guidance: Above 1 the {text} follows the {values} more closely, to 5; try 2 at temperature 1.
        """
        text = self.default_prompt if prompt is None else prompt
        for written in self.write(text, model, temperature, top_p, guidance, length, seed):
            yield written.text

    def next_words(
        self, text: str | None = None, temperature: float | None = None, count: int = 10, model: str = BASE
    ) -> list[dict[str, str | float]]:
        """Return the likeliest words after a text, with their probabilities before and at the temperature.

        Args:
            text: The text before the word.
            temperature: From 0.1 to 2; default: the model's own.
            count: How many words, from 1 to 50.
            model: "base", or the name of an adapter.
        """
        engine = self._ready()
        prompt = self._prompt(engine, text)
        temperature = self._temperature(engine, temperature)
        count = validation.whole("count", count, 1, validation.MAX_CHOICES)
        adapter = validation.choice("model", model, self.adapters)
        return attention.next_words(engine, prompt.ids, adapter, temperature, count)

    def attention(
        self, text: str | None = None, layer: int | None = None, head: int | None = None, model: str = BASE
    ) -> dict[str, list[Any]]:
        """Return the attention of each word of a text to itself and to each word before it.

        Args:
            text: The text; its words are returned after "▸" for the start of the text.
            layer: The layer, from 0; default: the mean over all.
            head: The head, from 0; default: the mean over all.
            model: "base", or the name of an adapter.
        """
        engine = self._ready()
        prompt = self._prompt(engine, text)
        view = View.parse(engine, layer, head)
        adapter = validation.choice("model", model, self.adapters)
        words = ["▸", *(word.strip() for word in prompt.words[1:])]
        return {"words": words, "weights": attention.attention_weights(engine, prompt.ids, adapter, view)}

    def document(self, description: str) -> str:
        """Return the description of an API function in the words of the model's corpus, as MCP clients show it."""
        form = f"{WINE.prefix} : italy : tuscany : sangiovese :" if self.about_wine else self.template.form
        values = {
            "{text}": "review" if self.about_wine else "text",
            "{such_as}": f', such as "{form}"' if form else "",
            "{values}": "prompt's country, province and variety" if self.about_wine else "values in the prompt",
        }
        return re.sub("{text}|{such_as}|{values}", lambda found: values[found[0]], description)

    @property
    def guidances(self) -> tuple[float, float]:
        """The least and the largest guidance; a guidance of 1 is none.

        A model of characters or byte-pair tokens has none, because it did not learn the [UNK] that hides the values.
        """
        return validation.GUIDANCES if self._ready().unit == "word" else (1.0, 1.0)

    # ---- the page ---------------------------------------------------------------------------------------------------

    def write(
        self,
        prompt: str,
        model: str = BASE,
        temperature: float | None = None,
        top_p: float | None = None,
        guidance: float | None = None,
        length: int | None = None,
        seed: int | None = None,
        side: str = "",
    ) -> Iterator[Written]:
        """Write a text and yield it after each piece.

        Args:
            prompt: what the text begins with; this value and all others are validated here.
            model: :data:`BASE`, or the name of an adapter.
            temperature: None for the model's own.
            top_p: None for the model's own.
            guidance: None for none.
            length: the maximum number of new tokens; None for as many as fit.
            seed: None for a random one.
            side: precedes the names of fields in errors.

        Raises:
            UserFacingError: if a value is invalid, or there is no model.
        """
        engine = self._ready()
        encoded = engine.encode(f"{side}prompt", validation.text(f"{side}prompt", prompt))
        settings = Settings(
            temperature=self._temperature(engine, temperature),
            top_p=engine.top_p if top_p is None else validation.number("top_p", top_p, *validation.TOP_PS),
            length=self.length if length is None else validation.whole("length", length, 1, self.length),
            seed=secrets.randbits(32) if seed is None else validation.whole("seed", seed, *validation.SEEDS),
            guidance=1.0 if guidance is None else validation.number("guidance", guidance, *self.guidances),
        )
        request = Request(encoded, settings, validation.choice(f"{side}model", model, self.adapters))
        ids: tuple[int, ...] = ()
        negative = encoded.hide(self.template.value_spans(encoded.text), engine.tokenizer.unk_token_id)
        for piece in engine.write(encoded.ids, settings, request.adapter, negative):
            ids = (*ids, *piece)
            complete = engine.is_complete(encoded.ids, ids, settings)
            yield Written(request, ids, engine.continued(encoded, ids), complete)

    def compare(self, left: Side, right: Side, seed: int | None) -> Iterator[tuple[Written, Written]]:
        """Write two texts at once with the same seed; a side is prompt, model and temperature."""
        seed = secrets.randbits(32) if seed is None else seed
        streams = [self.write(*side, seed=seed, side=name) for name, side in (("left ", left), ("right ", right))]
        latest = [next(stream) for stream in streams]
        while True:
            yield latest[0], latest[1]
            pieces = [next(stream, None) for stream in streams]
            if not any(pieces):
                return
            latest = [piece or done for piece, done in zip(pieces, latest, strict=True)]

    def unknown_words(self, written: Written) -> list[str]:
        """Return the words of a prompt that the model does not know, each once."""
        prompt = written.request.prompt
        unknown = (word.strip() for word, known in zip(prompt.words, prompt.known, strict=True) if not known)
        return list(dict.fromkeys(unknown))

    def check_copies(self, written: Written) -> CopyCheck | None:
        """Look for the words that the model wrote after the header in its training texts; None without an index."""
        if self.index is None or self.engine is None:
            return None
        # what the model wrote of the running text, in the class's words, which the index has whatever the tokens are
        running, new = self.template.running_text(written.text), self.engine.decode(written.ids)
        words = class_words(min(running, new, key=len))
        span = self.index.longest_span(words)
        return CopyCheck(tuple(words[span.start : span.stop]), len(words), self.index)

    def similar(self, text: str) -> list[tuple[str, str]]:
        """Return the cosine and the text of the training reviews that are most like a text."""
        return [] if self.reviews is None else most_similar(self.reviews, validation.text("text", text))

    def model_file(self, model: str, name: str) -> Path | None:
        """Return a file of the base or of an adapter that is merged into it; None if there is no such file.

        Raises:
            OSError: if the Hub can't be reached.
        """
        if self.engine is None or self.source is None or model not in self.adapters or not is_model_file(name):
            return None
        if model == BASE:
            return self.source.file(name)
        folder = self._merged.folder(self.engine, model)
        # an adapter has no epochs
        if folder is None or "/" in name:
            return None
        return folder / name if (folder / name).is_file() else self.source.file(name)

    # ---- loading ----------------------------------------------------------------------------------------------------

    def _load_adapters(self, source: ModelSource) -> list[ModelSource]:
        try:
            return choose_adapters(source)
        # any error of the card, the Hub or the network: the page works without adapters
        except Exception as error:
            print(f"card of {source}: {type(error).__name__}: {error}", file=sys.stderr)
            self.problems.append(UserFacingError("problem_card", source=source))
            return []

    def _load_template(self, source: ModelSource) -> None:
        try:
            if path := source.file(template.FILE):
                self.template = Template.load(path)
        except (OSError, ValueError):
            self.problems.append(UserFacingError("problem_file", file=template.FILE))

    def _sample_rows(self, engine: Engine) -> list[tuple[str, ...]]:
        """Return values of the fields as the model writes them, because the training texts are not published."""
        fields, rows = self.template.fields, []
        prompt = engine.encode("prompt", self.default_prompt)
        for seed in range(SAMPLED_ROWS if fields else 0):
            settings = Settings(engine.temperature, engine.top_p, min(self.length, MAX_HEADER[engine.unit]), seed)
            ids = itertools.chain.from_iterable(engine.write(prompt.ids, settings, BASE))
            text = engine.continued(prompt, tuple(ids))
            row = tuple(self.template.values(text))
            # without its last colon the header is incomplete
            if (
                len(row) == len(fields)
                and text.count(":") >= self.template.colons
                and all(0 < len(value) <= MAX_VALUE for value in row)
            ):
                rows.append(row)
        return rows

    def _load_index(self, source: ModelSource) -> None:
        try:
            if path := source.file(ngram_filter.FILE_NAME):
                self.index = NgramFilter.load(path)
        except OSError:
            self.problems.append(UserFacingError("problem_file", file=ngram_filter.FILE_NAME))
        except ValueError:
            values = {"file": ngram_filter.FILE_NAME, "format": ngram_filter.FORMAT}
            self.problems.append(UserFacingError("problem_format", **values))

    def _load_reviews(self) -> None:
        try:
            self.reviews = load_reviews()
        except UserFacingError as problem:
            self.problems.append(problem)

    def _ready(self) -> Engine:
        if self.engine is None:
            # a new error, because a raised error keeps its traceback and the objects in it alive
            raise UserFacingError(self.problems[0].key, **self.problems[0].values)
        return self.engine

    # ---- requests ---------------------------------------------------------------------------------------------------

    def _prompt(self, engine: Engine, text: Any) -> Prompt:  # noqa: ANN401 - unvalidated
        return engine.encode("text", validation.text("text", self.default_prompt if text is None else text))

    def _temperature(self, engine: Engine, value: Any) -> float:  # noqa: ANN401 - unvalidated
        if value is None:
            return engine.temperature
        return validation.number("temperature", value, *validation.TEMPERATURES)
