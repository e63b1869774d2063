"""An ensemble, whose prediction is the mean of its members' probabilities: the teacher of a distillation."""

import math
import typing
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import nn
from transformers import GPT2LMHeadModel, PreTrainedTokenizerFast

from wine_gpt.data.batching import Batch
from wine_gpt.errors import UserError
from wine_gpt.modeling.loss import LanguageModelLoss
from wine_gpt.modeling.pretrained import load_model_and_tokenizer
from wine_gpt.tokenizer.files import fingerprint


class Ensemble(nn.Module):
    """Models of one shape and vocabulary, in evaluation mode.

    Their probabilities are averaged, not their logits, because the mean of the probabilities is the mixture of the
    models that the student approximates (Hinton et al. 2015, "Distilling the Knowledge in a Neural Network").
    """

    def __init__(self, models: Sequence[GPT2LMHeadModel]) -> None:
        super().__init__()
        self.members = nn.ModuleList(map(LanguageModelLoss, models))
        self.eval()

    @property
    def models(self) -> list[GPT2LMHeadModel]:
        """The members' models."""
        return [member.model for member in self._losses()]

    @property
    def model(self) -> GPT2LMHeadModel:
        """The first model, whose shape is that of all."""
        return self.models[0]

    def token_losses(self, batch: Batch) -> torch.Tensor:
        """Return −log of the mean p(label); see :meth:`LanguageModelLoss.token_losses`."""
        losses = torch.stack([member.token_losses(batch) for member in self._losses()])
        return math.log(len(losses)) - torch.logsumexp(-losses, 0)

    def probabilities(self, batch: Batch) -> torch.Tensor:
        """Return the mean prediction for each label; see :meth:`LanguageModelLoss.probabilities`."""
        first, *others = self._losses()
        total = first.probabilities(batch)
        for member in others:
            total += member.probabilities(batch)
        return total.div_(len(self.members))

    def _losses(self) -> list[LanguageModelLoss]:
        return [typing.cast(LanguageModelLoss, member) for member in self.members]


def load_ensemble(folders: Sequence[Path], tokenizer: PreTrainedTokenizerFast) -> Ensemble:
    """Load finished runs as one ensemble.

    Args:
        folders: the members' run folders.
        tokenizer: the student's.

    Raises:
        UserError: if a member can't be loaded, or has another tokenizer than the student.
    """
    models = []
    for folder in folders:
        model, own = load_model_and_tokenizer(folder)
        if fingerprint(own) != fingerprint(tokenizer):
            raise UserError(f"{folder}: its words or their ids are not the student's: remove it to train it again")
        models.append(typing.cast(GPT2LMHeadModel, model))
    return Ensemble(models)
