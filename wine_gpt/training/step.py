"""One optimizer step on a global batch: forward and backward per micro-batch, gradient clipping, update.

On a GPU a step is queued, and its loss is read after the next step is queued, so that the GPU never waits for Python.

A step is a pure function of (weights, optimizer state, seed, step), because the plan determines its reviews and
dropout is seeded per review. On a CPU the number of micro-batches and processes changes only the rounding, except for
the contrastive loss of :mod:`wine_gpt.tasks.contrastive`, which compares the reviews of a micro-batch.
"""

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from torch import nn

from wine_gpt.config import TrainingConfig
from wine_gpt.data.batching import BatchPlan, Indices, split_into_micro_batches
from wine_gpt.errors import UserError
from wine_gpt.processes import on_all_processes
from wine_gpt.training.character_ngrams import find_character_ngrams
from wine_gpt.training.objective import Objective
from wine_gpt.training.optimizer import build_optimizer
from wine_gpt.training.schedule import learning_rate


@dataclass(frozen=True)
class GlobalBatch:
    """The reviews of one optimizer step, over all processes.

    Attributes:
        step: the step, counted from 0.
        micro_batches: this process's micro-batches, each the indices of its reviews.
        tokens: the number of tokens of the whole batch.
        units: the number of units of the whole batch, which the summed loss is divided by.
        width: the number of positions of the batch's longest review.
    """

    step: int
    micro_batches: list[Indices]
    tokens: int
    units: int
    width: int


@dataclass(frozen=True)
class StepLoss:
    """The loss of one optimizer step, summed over the units of its batch, in nats."""

    batch: GlobalBatch
    nats: float


@dataclass(frozen=True)
class HostCopy:
    """The copy of a small tensor to the CPU, which is queued on the device.

    ``tensor`` is valid once ``copied``, an event on the device, has occurred; there is none on a CPU.
    """

    tensor: torch.Tensor
    copied: torch.cuda.Event | None

    @classmethod
    def of(cls, tensor: torch.Tensor) -> Self:
        """Queue the copy."""
        if tensor.device.type != "cuda":
            return cls(tensor.cpu(), None)
        copy, copied = tensor.to("cpu", non_blocking=True), torch.cuda.Event()
        copied.record()
        return cls(copy, copied)

    def wait(self) -> list[float]:
        """Wait for the copy, but not for what was queued after it; return the tensor's values."""
        if self.copied is not None:
            self.copied.synchronize()
        return self.tensor.flatten().tolist()


class TrainStep:
    """Trains a model on one global batch at a time.

    Args:
        objective: the loss, and the inputs of each review.
        plan: the reviews of each step.
        config: see :class:`TrainingConfig`.
        accelerator: determines the device, this process's index and the number of processes.

    Attributes:
        reads_late: whether a step's loss is read after the next step is queued; by default on CUDA only, because a
            CPU has computed a step when Python continues.

    Raises:
        UserError: on all processes, if a batch can't be divided into micro-batches, or these among the processes.
    """

    def __init__(
        self,
        objective: Objective[Any],
        plan: BatchPlan,
        config: TrainingConfig,
        accelerator: Accelerator,
    ) -> None:
        self.objective = objective
        self.module = objective.module
        self.plan = plan
        self.config = config
        self.accelerator = accelerator
        self.micro_batch_count = count_micro_batches(config, accelerator)
        _require_divisible(self.micro_batch_count, accelerator.num_processes, plan)
        # Muon's matmuls have the precision of the model's matmuls
        dtype = torch.bfloat16 if accelerator.mixed_precision == "bf16" else torch.float32
        self.wrapped: nn.Module
        self.optimizer: torch.optim.Optimizer
        ngrams = None
        if config.character_ngrams:
            # moved now, because the n-grams' vectors are made where the embeddings are
            embeddings = self.module.to(accelerator.device).model.get_input_embeddings().weight
            ngrams = find_character_ngrams(embeddings, objective.tokenizer)
        self.muon_adamw = build_optimizer(self.module, config, dtype, ngrams)
        # accelerate's wrapper of muon_adamw
        self.wrapped, self.optimizer = accelerator.prepare(self.module, self.muon_adamw)
        if accelerator.scaler is not None:
            # an earlier training of the session has changed its scale
            accelerator.scaler.load_state_dict(torch.amp.GradScaler(accelerator.device.type).state_dict())
        self.reads_late = accelerator.device.type == "cuda"
        self.module.masks_padding = self.reads_late
        # the batch of the step before, and the copy of its loss and of whether loss and gradient are finite
        self._queued: tuple[GlobalBatch, HostCopy] | None = None

    def batch(self, step: int) -> GlobalBatch:
        """Return the batch of a step, counted from 0."""
        reviews = self.plan.batch(step)
        positions = self.plan.positions[reviews]
        micro_batches = split_into_micro_batches(reviews, self.micro_batch_count)
        own = micro_batches[self.accelerator.process_index :: self.accelerator.num_processes]
        tokens = int(positions.sum())
        return GlobalBatch(
            step, own, tokens, units=self.objective.units(len(reviews), tokens), width=int(positions.max())
        )

    def run(self, batch: GlobalBatch) -> list[StepLoss]:
        """Update the weights once.

        Return this batch's loss, or on CUDA the previous batch's, which is known by now; empty on the first step.

        Raises:
            UserError: on all processes, if loss or gradient is not finite on any process. The weights are those before
                that step, also if it is found after the next step was queued.
        """
        own_nats = self._accumulate_gradients(batch)
        norm = self.accelerator.clip_grad_norm_(self.wrapped.parameters(), self.config.max_grad_norm)
        nats = self.accelerator.reduce(own_nats)
        # all processes decide alike, because loss and norm are sums over all processes;
        # with fp16 the gradient may overflow, because the scaler then skips the update
        finite = torch.isfinite(nats if self.accelerator.scaler else nats + norm)
        if not self.reads_late:
            if not finite:
                raise on_all_processes(UserError(self._describe_non_finite(batch)))
            self._update(batch.step)
            return [StepLoss(batch, float(nats))]
        self.muon_adamw.skip_from_now_unless(finite)
        self._update(batch.step)
        before, self._queued = self._queued, (batch, HostCopy.of(torch.stack([nats, finite.to(nats.dtype)])))
        return self._read(before)

    def finish(self) -> list[StepLoss]:
        """Wait for the queued step, if there is one, and return its loss.

        Raises:
            UserError: see :meth:`run`.
        """
        queued, self._queued = self._queued, None
        return self._read(queued)

    def _read(self, queued: tuple[GlobalBatch, HostCopy] | None) -> list[StepLoss]:
        if queued is None:
            return []
        batch, copy = queued
        nats, finite = copy.wait()
        if not finite:
            raise on_all_processes(UserError(self._describe_non_finite(batch)))
        return [StepLoss(batch, nats)]

    def _accumulate_gradients(self, batch: GlobalBatch) -> torch.Tensor:
        """Run all micro-batches of this process, and reduce gradients over the processes in the last one."""
        nats = torch.zeros((), device=self.accelerator.device)
        for indices in batch.micro_batches[:-1]:
            with self.accelerator.no_sync(self.wrapped):
                nats += self._backward(batch, indices)
        nats += self._backward(batch, batch.micro_batches[-1])
        return nats

    def _backward(self, batch: GlobalBatch, indices: Indices) -> torch.Tensor:
        """Add the gradient of a micro-batch's loss / the global batch's units; return the loss, summed in nats."""
        self._seed_dropout(batch.step, indices)
        # padded to the global batch's width, because dropout draws random numbers for the whole row of a review
        inputs = self.objective.inputs(indices, batch.width, self.accelerator.device)
        nats: torch.Tensor = self.wrapped(*inputs)
        # multiplied by the number of processes, because DDP averages the gradients instead of summing them
        self.accelerator.backward(nats * (self.accelerator.num_processes / batch.units))
        return nats.detach()

    def _seed_dropout(self, step: int, indices: Indices) -> None:
        """Seed dropout for the next forward pass: one seed per row on a CPU, one per micro-batch elsewhere."""
        on_cpu = self.accelerator.device.type == "cpu"
        seeds = [
            int(np.random.SeedSequence((self.config.seed, step, review)).generate_state(1)[0])
            for review in (indices if on_cpu else indices[:1])
        ]
        if on_cpu:
            self.module.seed_dropout(seeds)
        else:
            # not torch.manual_seed, because it queues a call for each type of device that is missing
            torch.get_device_module(self.accelerator.device).manual_seed(seeds[0])

    def _update(self, step: int) -> None:
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(step, self.plan.total_steps, self.config)
        self.optimizer.step()
        self.optimizer.zero_grad()

    def _describe_non_finite(self, batch: GlobalBatch) -> str:
        """Name the reviews of all processes whose loss or gradient is not finite.

        Each micro-batch is computed again without reducing gradients, because the gradients were already summed.
        """
        found: dict[str, list[int]] = {}
        for indices in batch.micro_batches:
            self.optimizer.zero_grad()
            with self.accelerator.no_sync(self.wrapped):
                nats = self._backward(batch, indices)
            if not torch.isfinite(nats):
                found.setdefault("loss", []).extend(map(int, indices))
            elif not self._gradients_are_finite():
                found.setdefault("gradient", []).extend(map(int, indices))
        rank = self.accelerator.process_index
        causes = gather_object(
            [
                f"the {what} on rank {rank} is not finite, for reviews {sorted(reviews)} of the split"
                for what, reviews in found.items()
            ]
        )
        return f"step {batch.step + 1:,}: {'; '.join(causes) or 'the sum of the gradients is not finite'}"

    def _gradients_are_finite(self) -> bool:
        gradients = [parameter.grad for parameter in self.module.parameters() if parameter.grad is not None]
        return all(bool(torch.isfinite(gradient).all()) for gradient in gradients)


def count_micro_batches(config: TrainingConfig, accelerator: Accelerator) -> int:
    """Return the number of micro-batches that all processes together divide a batch into."""
    return config.micro_batches or accelerator.num_processes


def _require_divisible(micro_batches: int, processes: int, plan: BatchPlan) -> None:
    if micro_batches % processes:
        problem = (
            f"{micro_batches} micro-batches cannot be divided among {processes} processes: "
            f"take as many processes as divide {micro_batches}, or begin a run with training.micro_batches a "
            f"multiple of {processes}"
        )
        raise on_all_processes(UserError(problem))
    if plan.smallest < micro_batches:
        # a larger batch helps only if an epoch has several
        more = "train on more reviews" if plan.ends_epoch(0) else "raise training.batch_tokens"
        problem = (
            f"a batch of {plan.smallest} reviews cannot be divided into {micro_batches} micro-batches: "
            f"{more}, or use fewer micro-batches or processes"
        )
        raise on_all_processes(UserError(problem))
