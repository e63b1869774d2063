"""Dropout whose random numbers cost a CPU little."""

import torch
from torch import nn


class PackedDropout(nn.Dropout):
    """Dropout that draws 16 random bits an element, four elements at once, where torch draws a float for each.

    On a CPU torch's generator is most of the time that dropout takes. Elements are kept with probability 1 − p,
    rounded to a multiple of 2⁻¹⁶, and divided by it. On other devices, and in evaluation, this is
    :class:`torch.nn.Dropout`.
    """

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """Return the input with elements set to zero at random, of the same shape and dtype."""
        if not self.training or self.p == 0 or input.device.type != "cpu":
            return super().forward(input)
        elements = input.numel()
        # from here to None is all of int64, so that every bit is random
        bits = torch.empty(-(-elements // 4), dtype=torch.int64).random_(-(2**63), None)
        dropped = round(self.p * 2**16)
        kept = bits.view(torch.int16)[:elements].view(input.shape) >= dropped - 2**15
        return input * kept.to(input.dtype).mul_(2**16 / (2**16 - dropped))


def pack_dropout(model: nn.Module) -> None:
    """Replace each :class:`torch.nn.Dropout` in a model; its weights and its results in evaluation stay the same."""
    for parent in model.modules():
        for name, child in parent.named_children():
            if type(child) is nn.Dropout:
                setattr(parent, name, PackedDropout(child.p).train(child.training))
