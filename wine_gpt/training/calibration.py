"""Temperature scaling: fit one factor for the logits on the validation split and fold it into the weights.

A model that has seen its training reviews many times is overconfident on others; with few epochs or much dropout it
is underconfident (Guo et al. 2017, "On Calibration of Modern Neural Networks"). One factor for all logits corrects
the probabilities and keeps the order of the words.
"""

import torch
from accelerate import Accelerator
from transformers import PreTrainedTokenizerFast

from wine_gpt.data.tokenized import TokenizedSplit
from wine_gpt.modeling.loss import LanguageModelLoss
from wine_gpt.modeling.scoring import score

# ratio of neighboring factors in the search; the loss is flat around its minimum
STEP = 0.98
# largest number of steps: the factor is between 0.5 and 2
MAX_STEPS = 34


@torch.no_grad()
def calibrate(
    module: LanguageModelLoss, split: TokenizedSplit, tokenizer: PreTrainedTokenizerFast, accelerator: Accelerator
) -> float:
    """Find the factor for the logits with the lowest loss on a tokenized split, and apply it to the model.

    The search steps in the direction of falling loss and finds the minimum, because the loss is convex in the factor.

    Returns:
        The factor, which is equal on all processes.
    """
    scale = module.scaling_weights
    trained = [tensor.clone() for tensor in scale]

    def scaled(steps: int) -> float:
        for tensor, original in zip(scale, trained, strict=True):
            tensor.copy_(original * STEP**steps)
        return score(module, split, tokenizer, accelerator).nats_per_word

    best, lowest = 0, scaled(0)
    for direction in (1, -1):
        while abs(best) < MAX_STEPS and (found := scaled(best + direction)) < lowest:
            best, lowest = best + direction, found
    scaled(best)
    return float(STEP**best)


def scale_logits(module: LanguageModelLoss, factor: float) -> None:
    """Multiply all logits of a model by a factor, as :func:`calibrate` does."""
    for tensor in module.scaling_weights:
        tensor.mul_(factor)
