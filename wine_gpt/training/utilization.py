"""Model FLOPs utilization (MFU): what fraction of a GPU's arithmetic training uses, and the batch that fills a GPU."""

from transformers import GPT2Config

# fraction of a GPU's peak that this small model's matmuls reach at best, and the time in which Python queues the
# kernels of one step: both assumed, see docs/scaling.md
REACHABLE_MFU, QUEUE_SECONDS = 0.3, 0.005


def flops_per_token(config: GPT2Config, positions: float) -> float:
    """Return the floating-point operations of training on one token, forward and backward.

    6 N + 12 L H Q T as in PaLM, appendix B (Chowdhery et al. 2022, arXiv 2204.02311): N counts the weights that are
    multiplied, so the head's but neither embedding nor biases; L layers have H heads of width Q.

    Args:
        config: the model's shape.
        positions: the mean number T of positions of a row.
    """
    width, inner = config.n_embd, config.n_inner or 4 * config.n_embd
    weights = config.n_layer * (4 * width**2 + 2 * width * inner) + width * config.vocab_size
    return 6 * weights + 12 * config.n_layer * width * positions


def suggested_batch_tokens(flops: float, peak: float, tokens: int, least_steps: int) -> int:
    """Return the batch size, a power of two, from which on a GPU computes for as long as Python queues a step.

    Args:
        flops: the operations per token.
        peak: the GPU's operations per second.
        tokens: the number of tokens of the whole training.
        least_steps: the number of steps that the training must have, which limits the batch size.
    """
    filling = QUEUE_SECONDS * REACHABLE_MFU * peak / flops
    return 1 << max(int(min(filling, tokens / least_steps)), 1).bit_length() - 1
