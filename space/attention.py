"""Explain a text: the likeliest next words and the attention of each word to the earlier words."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

import validation
from engine import Engine


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
