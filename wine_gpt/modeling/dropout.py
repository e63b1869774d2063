"""Dropout on a CPU with one random generator per row, so that a review's dropout does not depend on its batch."""

import torch
from torch import nn
from transformers import PreTrainedModel

from wine_gpt.modeling.attention import use_causal_attention


class PerRowDropout(nn.Dropout):
    """Dropout that draws 16 random bits per element, four elements at a time, instead of torch's float per element.

    Drawing random numbers takes most of the time of dropout on a CPU. Elements are kept with probability 1 − p,
    rounded to a multiple of 2⁻¹⁶, and divided by it. On other devices, and in evaluation, this is
    :class:`torch.nn.Dropout`.

    Args:
        p: probability that an element becomes zero.
        generators: one per row of the input, or an empty list for torch's global generator. The list is not copied,
            because all dropout layers of a model use one list.
    """

    def __init__(self, p: float, generators: list[torch.Generator]) -> None:
        super().__init__(p)
        self.generators = generators

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """Return the input with random elements set to zero, of the same shape and dtype."""
        if not self.training or self.p == 0 or input.device.type != "cpu":
            return super().forward(input)
        # at least one of the 2**16 values is kept, because they are divided by the fraction that is kept
        dropped = min(round(self.p * 2**16), 2**16 - 1)
        kept = self._random(input.shape) >= dropped - 2**15
        return input * kept.to(input.dtype).mul_(2**16 / (2**16 - dropped))

    def _random(self, shape: torch.Size) -> torch.Tensor:
        """Return uniformly distributed int16 values of the given shape."""
        elements = shape[1:].numel()
        packed = torch.empty(shape[0], -(-elements // 4), dtype=torch.int64)
        # the range from -2**63 to None is all of int64, so that every bit is random
        if self.generators:
            for row, generator in zip(packed, self.generators, strict=True):
                row.random_(-(2**63), None, generator=generator)
        else:
            packed.random_(-(2**63), None)
        return packed.view(torch.int16)[:, :elements].view(shape)


def install_per_row_dropout(model: PreTrainedModel) -> list[torch.Generator]:
    """Replace each :class:`torch.nn.Dropout` of a model by :class:`PerRowDropout`, that of attention weights included.

    The model's weights and its outputs in evaluation do not change.

    Returns:
        the list of generators that all the dropout layers use, empty at first.
    """
    generators: list[torch.Generator] = []
    for parent in model.modules():
        for name, child in parent.named_children():
            if isinstance(child, nn.Dropout):
                setattr(parent, name, PerRowDropout(child.p, generators).train(child.training))
    use_causal_attention(model)
    return generators
