"""What the page and the API can ask for: what comes in is checked here, what goes out is data."""

import itertools
import secrets
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import checks
import inside
from copied import FILE as INDEX_FILE
from copied import Index
from display import Casing, Places, header_length, read_places
from engine import BASE, Engine, Prompt, Settings
from source import choose_adapters, choose_model
from texts import Problem

HERE = Path(__file__).parent
DEFAULT_PROMPT = "wine review"
MOST_LENGTH = 1_024

# a text with everything that the page shows of it
Review = dict[str, Any]


class Demo:
    """The model and what belongs to it, or the reason why there is none.

    Attributes:
        engine: the model; none if it could not be loaded.
        problems: what is not as it should be, for visitors.
        places: countries, provinces and varieties of which the model knows every word.
    """

    def __init__(self) -> None:
        """Load what the settings name; whatever goes wrong is told on the page."""
        self.engine: Engine | None = None
        self.index: Index | None = None
        self.problems: list[Problem] = []
        self.title = ""
        every_place = read_places(HERE / "places.json")
        self.places: Places = {}
        self._casing = Casing(every_place)
        try:
            source = choose_model()
            self.title = str(source)
            self.engine = Engine(source, self._adapters_of(source))
        except Problem as problem:
            self.problems = [problem]
            return
        self.problems += self.engine.problems
        self.places = known_places(self.engine, every_place)
        self._load_index()

    def _adapters_of(self, source: Any) -> list[Any]:  # noqa: ANN401
        try:
            return choose_adapters(source)
        # the card is the Hub's, or the network's fault; the model goes on without adapters
        except Exception as error:
            print(f"card of {source}: {type(error).__name__}: {error}", file=sys.stderr)
            self.problems.append(Problem("problem_card", source=source))
            return []

    def _load_index(self) -> None:
        source = self._ready().source
        try:
            path = source.file(INDEX_FILE)
            self.index = None if path is None else Index(path)
        except Problem as problem:
            self.problems.append(problem)
        except OSError:
            self.problems.append(Problem("problem_index", file=INDEX_FILE))

    def _ready(self) -> Engine:
        if self.engine is None:
            # anew, as a raised one holds on to who raised it
            raise Problem(self.problems[0].key, **self.problems[0].values)
        return self.engine

    @property
    def adapters(self) -> dict[str, str]:
        """What each model is called on the page, by the name that the API knows it by; the base first."""
        return {} if self.engine is None else {BASE: "Base", **self.engine.adapters}

    @property
    def length(self) -> int:
        """The most words that a text can have."""
        return 80 if self.engine is None else min(self.engine.positions - 1, MOST_LENGTH)

    # ---- the API ----------------------------------------------------------------------------------------------------

    def generate(
        self,
        prompt: str = DEFAULT_PROMPT,
        temperature: float | None = None,
        top_p: float | None = None,
        length: int | None = None,
        seed: int | None = None,
        model: str = BASE,
    ) -> Iterator[str]:
        """Write a review. The text comes in pieces, each time all of it so far, the prompt included.

        Args:
            prompt: What the review begins with, such as "wine review : italy : tuscany : sangiovese :".
            temperature: Below 1 safer, above 1 bolder, from 0.1 to 2; the model's own if left out.
            top_p: Draw from the likeliest words of this share, from 0.05 to 1; the model's own if left out.
            length: The most new words; as many as fit if left out.
            seed: Equal seeds give equal texts, from 0 to 4294967295; any if left out.
            model: "base", or the name of an adapter.
        """
        engine = self._ready()
        beginning = self._prompt(engine, "prompt", prompt)
        settings = self._settings(engine, temperature, top_p, length, seed)
        adapter = checks.choice("model", model, self.adapters)
        ids: list[int] = []
        for piece in engine.write(beginning.ids, settings, adapter):
            ids += piece
            yield (prompt.rstrip() + "".join(engine.spaced_words(ids))).lstrip()

    def next_words(
        self, text: str = DEFAULT_PROMPT, temperature: float | None = None, count: int = 10, model: str = BASE
    ) -> list[dict[str, str | float]]:
        """Return the likeliest words after a text, with their probabilities before and at the temperature.

        Args:
            text: What stands before the word.
            temperature: From 0.1 to 2; the model's own if left out.
            count: How many words, from 1 to 50.
            model: "base", or the name of an adapter.
        """
        engine = self._ready()
        beginning = self._prompt(engine, "text", text)
        warmth = self._temperature(engine, temperature)
        many = checks.whole("count", count, 1, checks.MOST_CHOICES)
        adapter = checks.choice("model", model, self.adapters)
        return inside.next_words(engine, beginning.ids, adapter, warmth, many)

    def attention(
        self, text: str = DEFAULT_PROMPT, layer: int | None = None, head: int | None = None, model: str = BASE
    ) -> dict[str, list[Any]]:
        """Return how much each word of a text attends to itself and to each word before it, when the next is chosen.

        Args:
            text: The text; its words come back with "▸" for the start of the text before them.
            layer: Whose attention, from 0; the mean over all if left out.
            head: Whose attention, from 0; the mean over all if left out.
            model: "base", or the name of an adapter.
        """
        engine = self._ready()
        beginning = self._prompt(engine, "text", text)
        layer, head = inside.read_layer_and_head(engine, layer, head)
        adapter = checks.choice("model", model, self.adapters)
        words = ["▸", *(word.strip() for word in beginning.words[1:])]
        return {"words": words, "weights": inside.attention(engine, beginning.ids, adapter, layer, head)}

    # ---- the page ---------------------------------------------------------------------------------------------------

    def write(
        self, prompt: str, model: str, temperature: float, top_p: float, length: int, seed: int
    ) -> Iterator[Review]:
        """Write a review for the page."""
        engine = self._ready()
        beginning = self._prompt(engine, "prompt", prompt)
        settings = self._settings(engine, temperature, top_p, length, seed)
        adapter = checks.choice("model", model or BASE, self.adapters)
        ids: list[int] = []
        for piece in engine.write(beginning.ids, settings, adapter):
            ids += piece
            yield self._review(engine, prompt, beginning, ids, settings, adapter, state="writing")
        yield self._review(engine, prompt, beginning, ids, settings, adapter, copied=True)

    def look(self, sent: Mapping[str, Any]) -> Review:
        """Return a written review with what the model thought at each word.

        Args:
            sent: by the page: prompt, ids (of the words after it), settings, layer, head.
        """
        engine = self._ready()
        prompt, beginning, ids, settings, adapter = self._sent(engine, sent)
        layer, head = inside.read_layer_and_head(engine, sent.get("layer"), sent.get("head"))
        review = self._review(engine, prompt, beginning, ids, settings, adapter, copied=True)
        steps = inside.look(engine, [*beginning.ids, *ids], adapter, settings.temperature, layer, head)
        return {**review, "inside": {"layer": layer, "head": head, "steps": steps}}

    def branch(self, sent: Mapping[str, Any]) -> tuple[str, int]:
        """Return the beginning that ends with another word in place of a written one, and the seed to go on with.

        Args:
            sent: as for :meth:`look`, the last id being the other word's.
        """
        engine = self._ready()
        prompt, _, ids, settings, _ = self._sent(engine, sent)
        return prompt.rstrip() + "".join(engine.spaced_words(ids)), settings.seed

    def compare(self, left: Mapping[str, Any], right: Mapping[str, Any], seed: int | None) -> Iterator[dict[str, Any]]:
        """Write two reviews side by side, then mark the words whose probability differs most between the two.

        Args:
            left: prompt, model, temperature.
            right: the same of the other.
            seed: of both.
        """
        engine = self._ready()
        sides = []
        for name, side in (("left", left), ("right", right)):
            beginning = self._prompt(engine, f"{name} prompt", side["prompt"])
            settings = self._settings(engine, side["temperature"], None, None, seed)
            adapter = checks.choice(f"{name} model", side["model"] or BASE, self.adapters)
            sides.append((side["prompt"], beginning, settings, adapter))
        written: list[list[int]] = [[], []]
        streams = [engine.write(beginning.ids, settings, adapter) for _, beginning, settings, adapter in sides]
        for pieces in itertools.zip_longest(*streams, fillvalue=()):
            for ids, piece in zip(written, pieces, strict=True):
                ids += piece
            yield {"sides": self._sides(engine, sides, written, state="writing")}
        reviews = self._sides(engine, sides, written)
        for own, other in ((0, 1), (1, 0)):
            here, there = (
                inside.word_probabilities(engine, side[1].ids, written[own], side[3], side[2].temperature)
                for side in (sides[own], sides[other])
            )
            reviews[own]["differences"] = {
                "marked": inside.most_different(here, there),
                "here": [round(share, 6) for share in here],
                "there": [round(share, 6) for share in there],
            }
        yield {"sides": reviews}

    def _sides(self, engine: Engine, sides: list[Any], written: list[list[int]], **more: Any) -> list[Review]:  # noqa: ANN401
        return [
            self._review(engine, prompt, beginning, ids, settings, adapter, **more)
            for (prompt, beginning, settings, adapter), ids in zip(sides, written, strict=True)
        ]

    def _review(
        self,
        engine: Engine,
        prompt: str,
        beginning: Prompt,
        ids: list[int],
        settings: Settings,
        adapter: str,
        state: str = "",
        copied: bool = False,
    ) -> Review:
        words = [*beginning.words, *engine.spaced_words(ids)]
        # the start of the text is no word
        header = 1 + header_length(words[1:])
        unknown = [place for place, known in enumerate(beginning.known) if not known]
        shown = self._casing.apply(words, header)
        for place in unknown:
            shown[place] = words[place]
        return {
            "prompt": prompt,
            "ids": list(ids),
            "settings": {
                "temperature": settings.temperature,
                "top_p": settings.top_p,
                "length": settings.length,
                "seed": settings.seed,
                "model": adapter,
            },
            "words": words,
            "shown": shown,
            "given": len(beginning.words),
            "header": header if header > 1 else 0,
            "unknown": unknown,
            "state": state or ("end" if ids and ids[-1] == engine.tokenizer.eos_token_id else "length"),
            "copied": self._copied(words, ids, engine, header) if copied else None,
        }

    def _copied(self, words: list[str], ids: list[int], engine: Engine, header: int) -> dict[str, Any] | None:
        if self.index is None:
            return None
        ended = bool(ids) and ids[-1] == engine.tokenizer.eos_token_id
        running = [word.strip().lower() for word in words[header : -1 if ended else None]]
        span = self.index.longest_span(running)
        return {
            "words": len(running),
            "start": header + span.start if span else 0,
            "length": span.length if span else 0,
            "n": self.index.n,
            "reviews": self.index.reviews,
            "error_rate": self.index.error_rate,
        }

    def _sent(self, engine: Engine, sent: Mapping[str, Any]) -> tuple[str, Prompt, list[int], Settings, str]:
        given = sent.get("settings")
        if not isinstance(given, Mapping):
            raise Problem("problem_given", field="settings")
        prompt = checks.text("prompt", sent.get("prompt"))
        beginning = engine.encode("prompt", prompt)
        room = engine.positions - len(beginning.ids)
        ids = checks.ids("ids", sent.get("ids"), len(engine.tokenizer), room)
        settings = self._settings(
            engine, given.get("temperature"), given.get("top_p"), given.get("length"), given.get("seed")
        )
        return prompt, beginning, ids, settings, checks.choice("model", given.get("model", BASE), self.adapters)

    def _prompt(self, engine: Engine, field: str, value: Any) -> Prompt:  # noqa: ANN401
        return engine.encode(field, checks.text(field, value))

    def _temperature(self, engine: Engine, value: Any) -> float:  # noqa: ANN401
        return engine.temperature if value is None else checks.number("temperature", value, *checks.TEMPERATURES)

    def _settings(self, engine: Engine, temperature: Any, top_p: Any, length: Any, seed: Any) -> Settings:  # noqa: ANN401
        return Settings(
            temperature=self._temperature(engine, temperature),
            top_p=engine.top_p if top_p is None else checks.number("top_p", top_p, *checks.TOP_PS),
            length=self.length if length is None else checks.whole("length", length, 1, self.length),
            seed=secrets.randbits(32) if seed is None else checks.whole("seed", seed, *checks.SEEDS),
        )


def known_places(engine: Engine, places: Places) -> Places:
    """Return the places and varieties of which the model knows every word."""
    known: Places = {}
    for country, provinces in places.items():
        if not engine.knows(country):
            continue
        for province, varieties in provinces.items():
            names = [variety for variety in varieties if engine.knows(variety)]
            if names and engine.knows(province):
                known.setdefault(country, {})[province] = names
    return known
