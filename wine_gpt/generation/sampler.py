"""Sample the next token from logits, as transformers' ``generate`` does: suppressed tokens, temperature, top-k, top-p.

Guidance, which comes before them, differs from that of ``generate`` at the end of the text.

Imports torch and transformers only, because publishing copies this file into the Space.
"""

from typing import Any

import torch
from transformers import GenerationConfig, TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper

# the fields of a generation config that :class:`TokenSampler` applies
APPLIED = {"do_sample", "temperature", "top_k", "top_p", "suppress_tokens"}
# the top_k of ``generate`` if a generation config sets none
DEFAULT_TOP_K = 50
# chosen by the lengths of guided and real reviews: benchmarks/RESULTS.md, "Guidance"
END_PENALTY = 0.7


def guide(
    prompted: torch.Tensor, negative: torch.Tensor, scale: torch.Tensor | float, ends: torch.Tensor
) -> torch.Tensor:
    """Return log-probabilities of classifier-free guidance (Sanchez et al. 2023, arXiv 2306.17806), up to a constant.

    With the guidance scale g, a word has log p = log p(word | negative) + g (log p(word | prompt) − log p(word |
    negative)): its probability after the prompt counts more where it differs from that after the negative prompt. The
    end of the text has log p(end | prompt) − END_PENALTY (g − 1), because guided texts are too short otherwise.

    Args:
        prompted: logits after the prompt, float of shape (rows, vocabulary).
        negative: logits after the negative prompt, of the same shape.
        scale: the guidance scale, or that of each row, of shape (rows, 1); 1 is no guidance.
        ends: ids of the end of text, int64 of shape (ends,).

    Returns:
        float32 of the shape of the logits.
    """
    prompted, negative = (logits.float().log_softmax(-1) for logits in (prompted, negative))
    end = prompted[:, ends] - END_PENALTY * (scale - 1)
    return (negative + scale * (prompted - negative)).index_copy_(1, ends, end)


class TokenSampler:
    """Chooses one token per row with the settings of a generation config.

    For a single row this is the token that ``generate`` draws from a generator in an equal state. For several rows one
    random number is drawn per row, because ``torch.multinomial`` would draw one for each entry of the vocabulary.
    """

    def __init__(
        self,
        config: GenerationConfig,
        device: torch.device | str = "cpu",
        generator: torch.Generator | None = None,
    ) -> None:
        """Prepare the warpers.

        Args:
            config: its :data:`APPLIED` fields are used.
            device: the logits' device.
            generator: a generator on that device; None is torch's global generator.
        """
        self._do_sample = bool(config.do_sample)
        self._generator = generator
        self._suppressed = torch.tensor(config.suppress_tokens or [], dtype=torch.int64, device=device)
        self._warpers = _warpers(config) if config.do_sample else []

    def __call__(self, logits: torch.Tensor) -> torch.Tensor:
        """Return token ids, int64 of shape (rows,).

        Args:
            logits: float of shape (rows, vocabulary). In float32 they are changed in place.
        """
        scores = logits.float().index_fill_(1, self._suppressed, -torch.inf)
        if not self._do_sample:
            return scores.argmax(-1)
        for warper in self._warpers:
            scores = warper(None, scores)
        probabilities = scores.softmax(-1)
        if len(scores) == 1:
            return torch.multinomial(probabilities, 1, generator=self._generator)[:, 0]
        cumulative = probabilities.cumsum(-1)
        # u in (0, 1]: with u = 0 searchsorted could choose a token of probability 0
        u = 1 - torch.rand(len(scores), 1, device=scores.device, generator=self._generator)
        return torch.searchsorted(cumulative, u * cumulative[:, -1:])[:, 0]


# Any, because transformers requires a LongTensor of input ids, which these warpers ignore
def _warpers(config: GenerationConfig) -> list[Any]:
    """Return the temperature, top-k and top-p of a config, which greedy decoding ignores."""
    warpers: list[Any] = []
    if config.temperature not in (None, 1):
        warpers.append(TemperatureLogitsWarper(float(config.temperature)))
    if top_k := DEFAULT_TOP_K if config.top_k is None else config.top_k:
        warpers.append(TopKLogitsWarper(top_k))
    if config.top_p is not None and config.top_p < 1:
        warpers.append(TopPLogitsWarper(config.top_p))
    return warpers
