"""Explain the words of a text: their probabilities, the likeliest next words and the attention to earlier words."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch

import validation
from engine import Engine

ALTERNATIVES = 10
# words with the largest differences of probability are marked, at most so many, if they differ by so much
MAX_MARKED = 5
MIN_DIFFERENCE = 0.01


@dataclass(frozen=True)
class View:
    """Which attention to show: a layer and a head, from 0; None is the mean over all."""

    layer: int | None
    head: int | None

    @classmethod
    def parse(cls, engine: Engine, layer: Any, head: Any) -> "View":  # noqa: ANN401 - unvalidated
        """Validate a layer and a head.

        Raises:
            UserFacingError: if the model has no such layer or head.
        """
        return cls(
            None if layer is None else validation.whole("layer", layer, 0, engine.layers - 1),
            None if head is None else validation.whole("head", head, 0, engine.heads - 1),
        )

    def select(self, attentions: Sequence[torch.Tensor]) -> torch.Tensor:
        """Return weights of shape (n, n) from ``attentions``: for each layer, weights of shape (1, heads, n, n)."""
        layers = torch.cat(list(attentions)).float()
        heads = layers.mean(dim=0) if self.layer is None else layers[self.layer]
        return heads.mean(dim=0) if self.head is None else heads[self.head]


@dataclass(frozen=True)
class Step:
    """The prediction of one word of a text.

    Attributes:
        probability: softmax(logits) of the word.
        probability_at_temperature: softmax(logits / temperature) of the word.
        rank: its rank by probability, 1 for the likeliest.
        next: the likeliest words: id, word, probability, probability at the temperature.
        attention: the weight of each earlier word, [BOS] first; the weights sum to 1.
    """

    probability: float
    probability_at_temperature: float
    rank: int
    next: list[tuple[int, str, float, float]]
    attention: list[float]

    def to_dict(self) -> dict[str, Any]:
        """Return the step for page.js."""
        return asdict(self)


def explain(engine: Engine, ids: Sequence[int], adapter: str, temperature: float, view: View) -> list[Step]:
    """Return a step for each token of a text but the first.

    Args:
        engine: the model.
        ids: the text's tokens, [BOS] first.
        adapter: see :meth:`Engine.using`.
        temperature: the sampling temperature.
        view: the attention to return.
    """
    with engine.using(adapter, attention=True) as model:
        output = model(torch.tensor([list(ids)]), output_attentions=True, use_cache=False)
        plain, tempered = (engine.probabilities(output.logits[0, :-1], each) for each in (1.0, temperature))
        weights = view.select(output.attentions)
        best = plain.topk(min(ALTERNATIVES, plain.shape[-1]))
        chosen = torch.tensor(list(ids[1:]))[:, None]
        own, own_tempered = plain.gather(-1, chosen), tempered.gather(-1, chosen)
        ranks = 1 + (plain > own).sum(dim=-1)
        best_tempered = tempered.gather(-1, best.indices)
    return [
        Step(
            probability=round(own[at].item(), 6),
            probability_at_temperature=round(own_tempered[at].item(), 6),
            rank=int(ranks[at]),
            next=[
                (index, engine.label(index), round(before, 6), round(after, 6))
                for index, before, after in zip(
                    best.indices[at].tolist(), best.values[at].tolist(), best_tempered[at].tolist(), strict=True
                )
            ],
            attention=[round(weight, 5) for weight in weights[at, : at + 1].tolist()],
        )
        for at in range(len(ids) - 1)
    ]


def next_words(
    engine: Engine, ids: Sequence[int], adapter: str, temperature: float, count: int
) -> list[dict[str, str | float]]:
    """Return the likeliest words after a text with their probabilities, in descending order."""
    with engine.using(adapter) as model:
        logits = model(torch.tensor([list(ids)]), use_cache=False, logits_to_keep=1).logits[0, -1]
        plain, tempered = (engine.probabilities(logits, each) for each in (1.0, temperature))
        best = plain.topk(min(count, len(plain)))
    return [
        {"word": engine.label(index), "probability": plain[index].item(), "at_temperature": tempered[index].item()}
        for index in best.indices.tolist()
    ]


def attention_weights(engine: Engine, ids: Sequence[int], adapter: str, view: View) -> list[list[float]]:
    """Return each word's attention to itself and the earlier words: a row per word, which sums to 1."""
    with engine.using(adapter, attention=True) as model:
        output = model(torch.tensor([list(ids)]), output_attentions=True, use_cache=False)
    return [row[: at + 1] for at, row in enumerate(view.select(output.attentions).tolist())]


def word_probabilities(
    engine: Engine, prompt: Sequence[int], words: Sequence[int], adapter: str, temperature: float
) -> list[float]:
    """Return the probability of each word of a continuation of the prompt."""
    ids = [*prompt, *words][: engine.positions]
    with engine.using(adapter) as model:
        logits = model(torch.tensor([ids]), use_cache=False).logits[0, len(prompt) - 1 : -1]
        probabilities = engine.probabilities(logits, temperature)
        return probabilities.gather(-1, torch.tensor(ids[len(prompt) :])[:, None])[:, 0].tolist()


def most_different(here: Sequence[float], there: Sequence[float]) -> list[int]:
    """Return the positions with the largest differences of probability, in descending order."""
    gaps = [abs(one - other) for one, other in zip(here, there, strict=False)]
    order = sorted(range(len(gaps)), key=lambda position: -gaps[position])
    return [position for position in order[:MAX_MARKED] if gaps[position] >= MIN_DIFFERENCE]
