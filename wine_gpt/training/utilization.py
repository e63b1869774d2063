"""Model FLOPs utilization (MFU): what fraction of a GPU's arithmetic training uses, and the batch that fills a GPU."""

import math

from accelerate.logging import get_logger
from transformers import GPT2Config

from wine_gpt.modeling.loss import LanguageModelLoss
from wine_gpt.training.hardware import device_name, peak_flops
from wine_gpt.training.trainer import Trainer

logger = get_logger(__name__)

# the fraction of a GPU's peak that this small model's matmuls reach, and the time in which Python queues the kernels
# of one step: both are assumed, see docs/scaling.md
REACHABLE_MFU, QUEUE_SECONDS = 0.1, 0.004


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
    """Return the smallest batch size, a power of two, with which a GPU computes for as long as Python queues a step.

    Args:
        flops: the operations per token.
        peak: the GPU's operations per second.
        tokens: the number of tokens of the whole training.
        least_steps: the number of steps that the training must have, which limits the batch size.
    """
    filling = math.ceil(QUEUE_SECONDS * REACHABLE_MFU * peak / flops)
    largest = max(tokens // least_steps, 1)
    return 1 << min((filling - 1).bit_length(), largest.bit_length() - 1)


def suggest_batch_tokens(trainer: Trainer[LanguageModelLoss], least_steps: int) -> None:
    """On a GPU, log a larger batch size if Python would take longer to queue a step than the GPU to compute it.

    Args:
        trainer: the trainer, before it trains.
        least_steps: see :func:`suggested_batch_tokens`.
    """
    plan, device = trainer.plan, _known_gpu(trainer)
    if device is None:
        return
    name, peak = device
    processes = trainer.accelerator.num_processes
    # of one epoch, because a distilled student's epoch has one of several sets of synthetic reviews
    tokens = int(plan.positions[plan.epoch(0).reviews].sum()) * trainer.config.epochs
    suggested = processes * suggested_batch_tokens(_flops_per_token(trainer), peak, tokens // processes, least_steps)
    if suggested > plan.batch_tokens:
        logger.info(
            f"{name}: steps of {plan.batch_tokens:,} positions leave it idle; training.batch_tokens {suggested:,} "
            "takes less time per epoch, but has fewer steps: raise training.learning_rate and compare the validation "
            "loss"
        )


def log_utilization(trainer: Trainer[LanguageModelLoss]) -> None:
    """On a GPU, log the fraction of its arithmetic that a finished training used."""
    device, processes = _known_gpu(trainer), trainer.accelerator.num_processes
    rate = trainer.current_tokens_per_second
    if device is not None and rate:
        name, peak = device
        used = rate * _flops_per_token(trainer) / (peak * processes)
        logger.info(f"{rate:,.0f} tokens/s on {processes} x {name}: MFU {used:.1%} of {peak / 1e12:,.0f} TFLOP/s each")


def _known_gpu(trainer: Trainer[LanguageModelLoss]) -> tuple[str, float] | None:
    """Return the name of the process's GPU and its operations per second; none on a CPU or an unlisted GPU."""
    device = trainer.accelerator.device
    name = device_name(device)
    peak = peak_flops(name, trainer.accelerator.mixed_precision)
    return None if peak is None else (name, peak)


def _flops_per_token(trainer: Trainer[LanguageModelLoss]) -> float:
    return flops_per_token(trainer.module.model.config, float(trainer.plan.positions.mean()))
