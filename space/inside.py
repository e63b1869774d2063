"""What the model thought at each word of a text: the likeliest next words, and the earlier words attended to."""

from collections.abc import Sequence
from typing import Any

import torch

from checks import whole
from engine import Engine

ALTERNATIVES = 10
MARKED = 5
# of probability: a difference below this is not worth a mark
LEAST_DIFFERENCE = 0.01


def look(
    engine: Engine, ids: Sequence[int], adapter: str, temperature: float, layer: int | None, head: int | None
) -> list[dict[str, Any]]:
    """Return for each word but the start of the text what stood before it was chosen.

    Args:
        engine: the model.
        ids: of the text, its start first.
        adapter: see :meth:`Engine.using`.
        temperature: of the drawing.
        layer: whose attention, from 0; none: the mean over all.
        head: whose attention, from 0; none: the mean over all.

    Returns:
        For the word at each position from 1 on: ``plain`` and ``warm``, its probability before and after
        temperature; ``rank``, 1 for the likeliest; ``next``, the likeliest words as (id, word, plain, warm); and
        ``attention``, the weight on each position before it, which sum to 1.
    """
    with engine.attending(adapter) as model:
        output = model(torch.tensor([list(ids)]), output_attentions=True, use_cache=False)
        plain, warm = (engine.probabilities(output.logits[0, :-1], of) for of in (1.0, temperature))
        weights = _chosen(output.attentions, layer, head)
        best = plain.topk(min(ALTERNATIVES, plain.shape[-1]))
        warm_best = warm.gather(-1, best.indices)
        chosen = torch.tensor(list(ids[1:]))[:, None]
        own, warm_own = plain.gather(-1, chosen), warm.gather(-1, chosen)
        ranks = 1 + (plain > own).sum(dim=-1)
    return [
        {
            "plain": round(own[at].item(), 6),
            "warm": round(warm_own[at].item(), 6),
            "rank": int(ranks[at]),
            "next": [
                (index, engine.label(index), round(before, 6), round(after, 6))
                for index, before, after in zip(
                    best.indices[at].tolist(), best.values[at].tolist(), warm_best[at].tolist(), strict=True
                )
            ],
            "attention": [round(weight, 5) for weight in weights[at, : at + 1].tolist()],
        }
        for at in range(len(ids) - 1)
    ]


def next_words(
    engine: Engine, ids: Sequence[int], adapter: str, temperature: float, count: int
) -> list[dict[str, str | float]]:
    """Return the likeliest words after a text, in falling order."""
    with engine.using(adapter) as model:
        logits = model(torch.tensor([list(ids)]), use_cache=False, logits_to_keep=1).logits[0, -1]
        plain, warm = (engine.probabilities(logits, of) for of in (1.0, temperature))
        best = plain.topk(min(count, len(plain)))
    return [
        {"word": engine.label(index), "probability": plain[index].item(), "at_temperature": warm[index].item()}
        for index in best.indices.tolist()
    ]


def attention(
    engine: Engine, ids: Sequence[int], adapter: str, layer: int | None, head: int | None
) -> list[list[float]]:
    """Return the weight that each word puts on itself and each word before it: one row a word, which sums to 1."""
    with engine.attending(adapter) as model:
        output = model(torch.tensor([list(ids)]), output_attentions=True, use_cache=False)
    weights = _chosen(output.attentions, layer, head).tolist()
    return [row[: at + 1] for at, row in enumerate(weights)]


def read_layer_and_head(engine: Engine, layer: Any, head: Any) -> tuple[int | None, int | None]:  # noqa: ANN401
    """Return a layer and a head that the model has; none stands for the mean over all.

    Raises:
        Problem: if it has no such layer or head.
    """
    return (
        None if layer is None else whole("layer", layer, 0, engine.layers - 1),
        None if head is None else whole("head", head, 0, engine.heads - 1),
    )


def _chosen(attentions: Sequence[torch.Tensor], layer: int | None, head: int | None) -> torch.Tensor:
    layers = torch.stack([each[0].float() for each in attentions])
    layers = layers.mean(dim=0) if layer is None else layers[layer]
    return layers.mean(dim=0) if head is None else layers[head]


def word_probabilities(
    engine: Engine, prompt: Sequence[int], words: Sequence[int], adapter: str, temperature: float
) -> list[float]:
    """Return the probability of each word of a continuation, had it followed this prompt."""
    ids = [*prompt, *words][: engine.positions]
    with engine.using(adapter) as model:
        logits = model(torch.tensor([ids]), use_cache=False).logits[0, len(prompt) - 1 : -1]
        return (
            engine.probabilities(logits, temperature)
            .gather(-1, torch.tensor(ids[len(prompt) :])[:, None])[:, 0]
            .tolist()
        )


def most_different(here: Sequence[float], there: Sequence[float]) -> list[int]:
    """Return the positions at which two probabilities of the same word differ most, the most first."""
    gaps = [abs(one - other) for one, other in zip(here, there, strict=False)]
    order = sorted(range(len(gaps)), key=lambda place: -gaps[place])
    return [place for place in order[:MARKED] if gaps[place] >= LEAST_DIFFERENCE]
