"""The functions behind the page and the API: they validate requests and return JSON-like data."""

import itertools
import re
import secrets
import sys
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import attention
import copy_check
import regions
import template
import validation
from attention import View
from casing import Casing
from copy_check import Index
from engine import BASE, Engine, Prompt, Settings
from i18n import Texts, UserFacingError, page_texts
from model_source import ModelSource, choose_adapters, choose_model
from regions import Regions
from template import SEPARATOR, UNKNOWN, WINE, Template

MAX_LENGTH = 1_024
# number of texts that the model writes to find values of the fields, their maximum words, a value's maximum characters
SAMPLED_ROWS = 16
MAX_HEADER = 40
MAX_VALUE = 40

# a text and what the page shows about it; page.js declares the keys
Review = dict[str, Any]


@dataclass(frozen=True)
class Request:
    """A validated request to continue a prompt: the text as typed, its tokens, the settings and the adapter."""

    text: str
    prompt: Prompt
    settings: Settings
    adapter: str


class Demo:
    """The model with its index, template and regions, or the reason why there is no model.

    Attributes:
        engine: the model; None if it could not be loaded.
        template: the template of the model's texts.
        regions: the regions and varieties whose words the model knows.
        problems: errors to show to visitors.
        title: the model's name and revision.
        name: the model's name without organization and revision.
    """

    def __init__(self) -> None:
        """Load the model that the environment or settings.json names; the page shows what goes wrong."""
        self.engine: Engine | None = None
        self.index: Index | None = None
        self.template = WINE
        self.problems: list[UserFacingError] = []
        self.title = self.name = ""
        try:
            source = choose_model()
            self.template, self.title, self.name = UNKNOWN, str(source), source.short_name
            self.engine = Engine(source, self._load_adapters(source))
        except UserFacingError as problem:
            self.problems = [problem]
            return
        self.problems += self.engine.problems
        self._load_template(source)
        self._load_index(source)
        rows = None if self.about_wine else self._sample_rows(self.engine)
        self.regions = Regions(self.template, self.engine.knows, rows)
        names = regions.read_rows() if self.about_wine and self.regions.fields else []
        self._casing = Casing(name for row in names for name in row)

    @property
    def about_wine(self) -> bool:
        """Whether the model's texts are wine reviews; so are those of the class's model, if none is chosen."""
        return self.template.prefix == WINE.prefix

    @property
    def texts(self) -> Texts:
        """The page's texts, in the words of the model's corpus."""
        return page_texts(self.about_wine, self.template.prefix, self.template.form)

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
    ) -> Iterator[str]:
        """Write a {text}. It is streamed: each piece is the whole text so far, the prompt included.

        Args:
            prompt: What the {text} begins with{such_as}.
            temperature: Below 1 safer, above 1 bolder, from 0.1 to 2; default: the model's own.
            top_p: Sample from the likeliest words up to this cumulative probability, 0.05 to 1; default: the model's.
            length: Maximum number of new words; default: as many as fit.
            seed: Equal seeds give equal texts, from 0 to 4294967295; default: random.
            model: "base", or the name of an adapter.
        """
        engine = self._ready()
        text = self.default_prompt if prompt is None else prompt
        request = self._request(engine, text, model, temperature, top_p, length, seed)
        ids: list[int] = []
        for piece in engine.write(request.prompt.ids, request.settings, request.adapter):
            ids += piece
            yield (request.text.rstrip() + "".join(engine.spaced_words(ids))).lstrip()

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
        prompt = self._prompt(engine, "text", self.default_prompt if text is None else text)
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
        prompt = self._prompt(engine, "text", self.default_prompt if text is None else text)
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
        }
        return re.sub("{text}|{such_as}", lambda found: values[found[0]], description)

    # ---- the page ---------------------------------------------------------------------------------------------------

    def write(
        self, prompt: str, model: str, temperature: float, top_p: float, length: int, seed: int
    ) -> Iterator[Review]:
        """Write a review for the page."""
        engine = self._ready()
        request = self._request(engine, prompt, model or BASE, temperature, top_p, length, seed)
        ids: list[int] = []
        for piece in engine.write(request.prompt.ids, request.settings, request.adapter):
            ids += piece
            yield self._review(engine, request, ids, writing=True)
        yield self._review(engine, request, ids)

    def explain(self, sent: Mapping[str, Any]) -> Review:
        """Return a written review with a step for each word.

        Args:
            sent: the page's data: prompt, ids of the words after it, settings, layer and head.
        """
        engine = self._ready()
        request, ids = self._parse_request(engine, sent)
        view = View.parse(engine, sent.get("layer"), sent.get("head"))
        tokens = [*request.prompt.ids, *ids]
        steps = attention.explain(engine, tokens, request.adapter, request.settings.temperature, view)
        explanation = {**asdict(view), "steps": [step.to_dict() for step in steps]}
        return {**self._review(engine, request, ids), "explanation": explanation}

    def branch(self, sent: Mapping[str, Any]) -> tuple[str, int]:
        """Return the prompt that ends with the word chosen instead of the written one, and the seed.

        Args:
            sent: as for :meth:`explain`; the last id is that of the chosen word.
        """
        engine = self._ready()
        request, ids = self._parse_request(engine, sent)
        return request.text.rstrip() + "".join(engine.spaced_words(ids)), request.settings.seed

    def compare(self, left: Mapping[str, Any], right: Mapping[str, Any], seed: int | None) -> Iterator[dict[str, Any]]:
        """Write two reviews side by side, then mark the words whose probability differs most between the sides.

        Args:
            left: prompt, model and temperature.
            right: prompt, model and temperature.
            seed: the seed of both sides.
        """
        engine = self._ready()
        requests = [
            self._request(engine, side["prompt"], side["model"] or BASE, side["temperature"], None, None, seed, name)
            for name, side in (("left ", left), ("right ", right))
        ]
        written: list[list[int]] = [[], []]
        streams = [engine.write(request.prompt.ids, request.settings, request.adapter) for request in requests]
        for pieces in itertools.zip_longest(*streams, fillvalue=()):
            for ids, piece in zip(written, pieces, strict=True):
                ids += piece
            sides = zip(requests, written, strict=True)
            yield {"sides": [self._review(engine, request, ids, writing=True) for request, ids in sides]}
        reviews = [self._review(engine, request, ids) for request, ids in zip(requests, written, strict=True)]
        for own, other in ((0, 1), (1, 0)):
            reviews[own]["differences"] = _differences(engine, requests[own], requests[other], written[own])
        yield {"sides": reviews}

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
        """Load the template, from config.yaml if an earlier version of wine_gpt saved the model."""
        for name, load in ((template.FILE, Template.load), (template.CONFIG, Template.load_config)):
            try:
                if path := source.file(name):
                    self.template = load(path)
                    return
            except (OSError, ValueError):
                self.problems.append(UserFacingError("problem_file", file=name))

    def _sample_rows(self, engine: Engine) -> list[tuple[str, ...]]:
        """Return values of the fields as the model writes them, because the training texts are not published."""
        fields, rows = self.template.fields, []
        colons = self.template.form.count(SEPARATOR)
        prompt = engine.encode("prompt", self.default_prompt)
        for seed in range(SAMPLED_ROWS if fields else 0):
            settings = Settings(engine.temperature, engine.top_p, min(self.length, MAX_HEADER), seed)
            ids = itertools.chain.from_iterable(engine.write(prompt.ids, settings, BASE))
            text = "".join([*prompt.words, *engine.spaced_words(list(ids))])
            row = tuple(self.template.values(text))
            # without its last colon the header is incomplete
            if (
                len(row) == len(fields)
                and text.count(":") >= colons
                and all(0 < len(value) <= MAX_VALUE for value in row)
            ):
                rows.append(row)
        return rows

    def _load_index(self, source: ModelSource) -> None:
        try:
            if path := source.file(copy_check.FILE):
                self.index = Index(path)
        except UserFacingError as problem:
            self.problems.append(problem)
        except OSError:
            self.problems.append(UserFacingError("problem_file", file=copy_check.FILE))

    def _ready(self) -> Engine:
        if self.engine is None:
            # a new error, because a raised error keeps its traceback and the objects in it alive
            raise UserFacingError(self.problems[0].key, **self.problems[0].values)
        return self.engine

    # ---- requests ---------------------------------------------------------------------------------------------------

    def _request(
        self,
        engine: Engine,
        text: Any,  # noqa: ANN401 - unvalidated, as the rest
        model: Any,  # noqa: ANN401
        temperature: Any,  # noqa: ANN401
        top_p: Any,  # noqa: ANN401
        length: Any,  # noqa: ANN401
        seed: Any,  # noqa: ANN401
        side: str = "",
    ) -> Request:
        """Validate a request; ``side`` precedes the names of fields in errors."""
        field = f"{side}prompt"
        text = validation.text(field, text)
        prompt = engine.encode(field, text)
        settings = Settings(
            temperature=self._temperature(engine, temperature),
            top_p=engine.top_p if top_p is None else validation.number("top_p", top_p, *validation.TOP_PS),
            length=self.length if length is None else validation.whole("length", length, 1, self.length),
            seed=secrets.randbits(32) if seed is None else validation.whole("seed", seed, *validation.SEEDS),
        )
        adapter = validation.choice(f"{side}model", model, self.adapters)
        return Request(text, prompt, settings, adapter)

    def _parse_request(self, engine: Engine, sent: Mapping[str, Any]) -> tuple[Request, list[int]]:
        """Validate the page's data about a written review; return the request and the ids after its prompt."""
        given = sent.get("settings")
        if not isinstance(given, Mapping):
            raise UserFacingError("problem_given", field="settings")
        settings = (given.get(name) for name in ("temperature", "top_p", "length", "seed"))
        request = self._request(engine, sent.get("prompt"), given.get("model", BASE), *settings)
        left = engine.positions - len(request.prompt.ids)
        return request, validation.ids("ids", sent.get("ids"), len(engine.tokenizer), left)

    def _prompt(self, engine: Engine, field: str, text: Any) -> Prompt:  # noqa: ANN401 - unvalidated
        return engine.encode(field, validation.text(field, text))

    def _temperature(self, engine: Engine, value: Any) -> float:  # noqa: ANN401 - unvalidated
        if value is None:
            return engine.temperature
        return validation.number("temperature", value, *validation.TEMPERATURES)

    # ---- reviews ----------------------------------------------------------------------------------------------------

    def _review(self, engine: Engine, request: Request, ids: list[int], writing: bool = False) -> Review:
        prompt = request.prompt
        words = [*prompt.words, *engine.spaced_words(ids)]
        # the first word is [BOS]
        header = 1 + self.template.header_length(words[1:])
        unknown = [position for position, known in enumerate(prompt.known) if not known]
        shown = self._casing.apply(words, header)
        for position in unknown:
            shown[position] = words[position]
        ended = bool(ids) and ids[-1] == engine.tokenizer.eos_token_id
        return {
            "prompt": request.text,
            "ids": list(ids),
            "settings": {**asdict(request.settings), "model": request.adapter},
            "words": words,
            "shown": shown,
            "given": len(prompt.words),
            "header": header if header > 1 else 0,
            "unknown": unknown,
            "state": "writing" if writing else "end" if ended else "length",
            "copy_check": None if writing else self._check_copies(words[header : -1 if ended else None], header),
        }

    def _check_copies(self, running_text: list[str], header: int) -> dict[str, Any] | None:
        if self.index is None:
            return None
        span = self.index.longest_span([word.strip().lower() for word in running_text])
        return {
            "words": len(running_text),
            "start": header + span.start if span else 0,
            "length": span.length if span else 0,
            "n": self.index.n,
            "reviews": self.index.reviews,
            "error_rate": self.index.error_rate,
        }


def _differences(engine: Engine, own: Request, other: Request, ids: list[int]) -> dict[str, list[float] | list[int]]:
    """Compare the probabilities of one side's words with their probabilities on the other side."""
    here, there = (
        attention.word_probabilities(engine, side.prompt.ids, ids, side.adapter, side.settings.temperature)
        for side in (own, other)
    )
    return {
        "marked": attention.most_different(here, there),
        "here": [round(probability, 6) for probability in here],
        "there": [round(probability, 6) for probability in there],
    }
