"""Evaluate a module in the middle of its training."""

import contextlib
from collections.abc import Iterator
from typing import Protocol


class Switchable(Protocol):
    """A module, such as any :class:`torch.nn.Module`."""

    training: bool

    def train(self, mode: bool = True) -> object:
        """Switch between training and evaluation."""


@contextlib.contextmanager
def evaluation_mode(module: Switchable) -> Iterator[None]:
    """Put a module into evaluation mode, and restore its mode on leaving."""
    was_training = module.training
    module.train(False)
    try:
        yield
    finally:
        module.train(was_training)
