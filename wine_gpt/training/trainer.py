"""The only training loop: every run, from scratch or from a base model, on one process or many, goes through it.

An optimizer step is a pure function of (weights, optimizer state, seed, step): the plan says which reviews it holds,
and each review seeds its own random numbers. So to resume is to load a checkpoint and go on at its step, and on a CPU
it makes no difference, rounding aside, into how many parts a batch is cut and how many processes share them.
"""

import contextlib
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from datasets import Dataset, DatasetDict
from torch import nn
from transformers import GPT2LMHeadModel, PreTrainedTokenizerFast

from wine_gpt.config import TrainingConfig
from wine_gpt.data.batching import BatchPlan, Indices, collate, positions_of, split_into_micro_batches
from wine_gpt.errors import RunInterrupted, UserError
from wine_gpt.generation.generate import generate_texts
from wine_gpt.modeling.language_model import LanguageModelLoss
from wine_gpt.modeling.scoring import score
from wine_gpt.progress import Progress
from wine_gpt.training import checkpoint
from wine_gpt.training.checkpoint import Checkpoint, Tensors
from wine_gpt.training.energy import EnergyMeter
from wine_gpt.training.optimizer import build_optimizer
from wine_gpt.training.record import EpochResult, TrainingState
from wine_gpt.training.schedule import learning_rate
from wine_gpt.training.signals import GracefulShutdown

# points of the training loss that are kept for the curve
CURVE_POINTS = 500
SAMPLES_PER_EVALUATION = 3
# the one setting of a checkpoint's identity that may grow: the steps done stay what they are, the rate falls later
EXTENDABLE_SETTING = "training.epochs"
# part of a checkpoint's identity: counts up when a change to the code changes what a step computes
STEP_VERSION = 2


def trained_weights(model: nn.Module) -> Tensors:
    """Return the parameters that are trained, themselves and not copies, by name; a tied one once."""
    return {name: parameter.data for name, parameter in model.named_parameters() if parameter.requires_grad}


class Trainer:
    """Trains a model on a tokenized ``train`` split and keeps the weights that do best on ``validation``.

    Args:
        model: changed in place; holds the best weights when :meth:`run` returns. Parameters that need no gradient are
            left alone, and are not part of a checkpoint.
        tokenizer: for the special tokens and the samples.
        splits: with columns ``input_ids`` and ``length``.
        config: see :class:`TrainingConfig`.
        accelerator: says which process this is, and on which device.
        checkpoints: folder of the checkpoints.
        prompt: what the samples after each epoch begin with.
        identity: what must be equal for a checkpoint to be resumed from; saved with each.
    """

    def __init__(
        self,
        model: GPT2LMHeadModel,
        tokenizer: PreTrainedTokenizerFast,
        splits: DatasetDict,
        config: TrainingConfig,
        accelerator: Accelerator,
        checkpoints: Path,
        prompt: str,
        resume_key: dict[str, Any],
    ) -> None:
        self.config = config
        self.tokenizer = tokenizer
        self.train_split: Dataset = splits["train"]
        self.validation_split: Dataset = splits["validation"]
        self.accelerator = accelerator
        self.checkpoints = checkpoints
        self.prompt = prompt
        self.resume_key = {**resume_key, "code's recipe": STEP_VERSION}
        self.block_size = model.config.n_positions
        self.plan = BatchPlan(
            positions_of(self.train_split, self.block_size), config.batch_tokens, config.seed, config.epochs
        )
        self.micro_batches = self._divide(config.micro_batches or accelerator.num_processes)
        self.module = LanguageModelLoss(model)
        # of Muon's products: where training in bf16 is fast, they are too
        dtype = torch.bfloat16 if accelerator.mixed_precision == "bf16" else torch.float32
        self.wrapped, self.optimizer = accelerator.prepare(self.module, build_optimizer(self.module, config, dtype))
        self.state = TrainingState()
        self.best_weights: Tensors = {}
        self.saved_step = 0
        self.energy_meter = EnergyMeter()

    def run(self) -> TrainingState:
        """Train from the current step to the end and put the best weights into the model.

        Raises:
            UserError: if the loss is no longer finite, or a checkpoint can't be written.
            Stopped: after a checkpoint at the end of the step in which SIGTERM or Ctrl-C came to any process.
        """
        total = self.plan.total_steps
        progress = Progress(total, self.state.step, self.accelerator.is_main_process)
        self.module.train()
        measured = self.energy_meter if self.accelerator.is_main_process else contextlib.nullcontext()
        with measured, GracefulShutdown() as request:
            for step in range(self.state.step, total):
                started = time.monotonic()
                self._optimizer_step(step)
                self.state.step = step + 1
                self._record_loss(max(total // CURVE_POINTS, 1))
                self.state.seconds += time.monotonic() - started
                progress.step(self._note())
                if self.plan.ends_epoch(step):
                    self._end_epoch(progress)
                elif self.config.checkpoint_steps and self.state.step % self.config.checkpoint_steps == 0:
                    self._save()
                self._leave_if_asked(request)
        progress.close()
        self._load_weights(self.best_weights)
        return self.state

    def resume(self, found: Checkpoint) -> None:
        """Take everything over from a checkpoint.

        Raises:
            UserError: naming each setting that differs from the checkpoint's, more epochs aside; nothing is changed
                then.
        """
        saved = dict(found.state)
        then, now = dict(saved["identity"]), dict(self.resume_key)
        if then.get(EXTENDABLE_SETTING, 0) < now.get(EXTENDABLE_SETTING, 0):
            then[EXTENDABLE_SETTING] = now[EXTENDABLE_SETTING]
        if others := describe_mismatch(then, now):
            raise UserError(f"can't resume from step {found.step}: {others}")
        if others := describe_mismatch(saved["machinery"], self._runtime()):
            self.accelerator.print(f"note: the same steps, but not to the last bit: {others}")
        self.state = TrainingState.from_dict(saved["training"])
        self.saved_step = found.step
        self.best_weights = found.tensors.get("best", {})
        self._load_weights(found.tensors["weights"])
        self._load_optimizer(found.tensors["optimizer"])
        if self.accelerator.scaler is not None:
            self.accelerator.scaler.load_state_dict(saved["scaler"])

    def _leave_if_asked(self, request: GracefulShutdown) -> None:
        """Save and raise :class:`RunInterrupted` on all processes if one of them was told to stop."""
        signals = torch.tensor(request.signal, device=self.accelerator.device)
        # the launcher passes a signal on to all its processes, but they may be a step apart
        strongest = int(self.accelerator.gather(signals).max())
        if strongest and self.state.step < self.plan.total_steps:
            if self.saved_step != self.state.step:
                self._save()
            raise RunInterrupted(
                f"stopped after step {self.state.step:,}, which is saved in {self.checkpoints}", strongest
            )

    def _optimizer_step(self, step: int) -> None:
        """Forward, backward and update on one global batch, of which this process takes its share of the parts."""
        reviews = self.plan.batch(step)
        parts = split_into_micro_batches(reviews, self.micro_batches)
        own = parts[self.accelerator.process_index :: self.accelerator.num_processes]
        nats = torch.zeros((), device=self.accelerator.device)
        for part in own[:-1]:
            with self.accelerator.no_sync(self.wrapped):
                nats += self._backward(step, part)
        nats += self._backward(step, own[-1])
        norm = self.accelerator.clip_grad_norm_(self.wrapped.parameters(), self.config.max_grad_norm)
        # both were summed over the processes, so all see the same; with fp16 the scaler skips a gradient too large
        nats = self.accelerator.reduce(nats)
        if not torch.isfinite(nats if self.accelerator.scaler else nats + norm):
            raise UserError(self._not_finite(step, own))
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(step, self.plan.total_steps, self.config)
        self.optimizer.step()
        self.optimizer.zero_grad()
        tokens = self._tokens(step)
        self.state.nats += float(nats)
        self.state.tokens += tokens
        self.state.total_tokens += tokens

    def _not_finite(self, step: int, own: list[Indices]) -> str:
        """Say whose loss or gradient is no number; on all processes the same, so that all stop.

        The gradients have been summed by now, so each part is computed again by itself, which gives the same again.
        """
        bad: dict[str, list[int]] = {}
        for part in own:
            self.optimizer.zero_grad()
            with self.accelerator.no_sync(self.wrapped):
                nats = self._backward(step, part)
            gradients = [parameter.grad for parameter in self.module.parameters() if parameter.grad is not None]
            what = "loss" if not torch.isfinite(nats) else "gradient"
            if what == "loss" or not all(bool(torch.isfinite(gradient).all()) for gradient in gradients):
                bad.setdefault(what, []).extend(map(int, part))
        rank = self.accelerator.process_index
        found = gather_object(
            [f"the {what} on rank {rank} is not finite, for reviews {sorted(bad[what])} of the split" for what in bad]
        )
        where = "; ".join(found) or "the sum of the gradients is not finite"
        saved = f"step {self.saved_step:,} is saved" if self.saved_step else "nothing is saved yet"
        return f"step {step + 1:,}: {where}; {saved}"

    def _tokens(self, step: int) -> int:
        """Return the tokens of a step's whole batch."""
        return int(self.plan.positions[self.plan.batch(step)].sum())

    def _backward(self, step: int, part: Indices) -> torch.Tensor:
        """Add the gradient of one part's loss ÷ the tokens of the whole global batch; return the part's loss."""
        self._seed(step, part)
        # as wide as the whole batch, since the random numbers of a review fill its row
        positions = int(self.plan.positions[self.plan.batch(step)].max())
        batch = collate(self.train_split, part, self.block_size, self.tokenizer.eos_token_id, positions)
        batch = batch.to(self.accelerator.device)
        nats: torch.Tensor = self.wrapped(batch.input_ids, batch.labels)
        # processes average their gradients, so their number is taken out again
        self.accelerator.backward(nats * (self.accelerator.num_processes / self._tokens(step)))
        return nats.detach()

    def _seed(self, step: int, part: Indices) -> None:
        """Fix what a part's forward pass drops: on a CPU of each review by itself, elsewhere of the whole part."""
        on_cpu = self.accelerator.device.type == "cpu"
        seeds = [
            int(np.random.SeedSequence((self.config.seed, step, review)).generate_state(1)[0])
            for review in (part if on_cpu else part[:1])
        ]
        if on_cpu:
            self.module.seed_dropout(seeds)
        else:
            # not torch.manual_seed, which remembers each call for the kinds of devices that are not there
            torch.get_device_module(self.accelerator.device).manual_seed(seeds[0])

    def _divide(self, micro_batches: int) -> int:
        processes = self.accelerator.num_processes
        if micro_batches % processes:
            raise UserError(
                f"{micro_batches} micro-batches cannot be divided among {processes} processes: "
                f"take as many processes as divide {micro_batches}, or begin a run with training.micro_batches a "
                f"multiple of {processes}"
            )
        if self.plan.smallest < micro_batches:
            raise UserError(
                f"a batch of {self.plan.smallest} reviews cannot be divided into {micro_batches} micro-batches: "
                "raise training.batch_tokens or use fewer micro-batches or processes"
            )
        return micro_batches

    def _record_loss(self, interval: int) -> None:
        if self.state.step % interval:
            return
        loss = self.state.nats / self.state.tokens
        self.state.curve.append((self.state.step, loss))
        self.state.nats, self.state.tokens = 0.0, 0
        rate = self.optimizer.param_groups[0]["lr"]
        self.accelerator.log({"train/nats_per_token": loss, "train/learning_rate": rate}, step=self.state.step)

    def _record_energy(self) -> None:
        before = self.state.energy_kwh if self.saved_step else 0.0
        taken = self.energy_meter.take()
        self.state.energy_kwh = None if before is None or taken is None else before + taken

    def _note(self) -> str:
        rate = self.state.total_tokens / max(self.state.seconds, 1e-9)
        loss = f"loss {self.state.curve[-1][1]:.3f}, " if self.state.curve else ""
        return f"{loss}{rate:,.0f} tokens/s"

    def _end_epoch(self, progress: Progress) -> None:
        """Validate, sample, remember the weights if they are the best so far, and save a checkpoint."""
        validation = score(self.module, self.validation_split, self.tokenizer, self.accelerator)
        result = EpochResult(self.plan.epoch_of(self.state.step - 1) + 1, self.state.step, validation, self._sample())
        self.state.epochs.append(result)
        if self.state.best is result:
            self.best_weights = {name: tensor.detach().clone() for name, tensor in self._weights().items()}
        figures = {"nats_per_word": validation.nats_per_word, "perplexity": validation.perplexity}
        self.accelerator.log({f"validation/{key}": value for key, value in figures.items()}, step=self.state.step)
        progress.say(
            f"epoch {result.epoch} of {self.config.epochs}: validation {validation.nats_per_word:.3f} nats per "
            f"word, perplexity {validation.perplexity:.1f}{', the best so far' if self.state.best is result else ''}"
        )
        progress.say(f"  {result.samples[0]}")
        self._save()

    def _sample(self) -> list[str]:
        prompts = [self.prompt] * SAMPLES_PER_EVALUATION
        seed = self.config.seed + self.state.step
        texts = generate_texts(self.module.model, self.tokenizer, prompts, seed=seed)
        self.module.train()
        return texts

    def _save(self) -> None:
        if self.accelerator.is_main_process:
            self._record_energy()
            tensors = {"weights": self._weights(), "optimizer": self._optimizer_tensors()}
            if self.best_weights:
                tensors["best"] = self.best_weights
            saved = {
                "identity": self.resume_key,
                "machinery": self._runtime(),
                "training": self.state.to_dict(),
                "scaler": self.accelerator.scaler.state_dict() if self.accelerator.scaler is not None else None,
            }
            checkpoint.save(
                self.checkpoints, Checkpoint(self.state.step, tensors, saved), self.config.keep_checkpoints
            )
        self.saved_step = self.state.step
        self.accelerator.wait_for_everyone()

    def _runtime(self) -> dict[str, Any]:
        """Return what may differ when a run goes on, and may then change the last bits of what it computes."""
        return {
            "device": self.accelerator.device.type,
            "processes": self.accelerator.num_processes,
            "threads": torch.get_num_threads(),
            "micro-batches": self.micro_batches,
            "torch": torch.__version__,
        }

    def _weights(self) -> Tensors:
        return trained_weights(self.module.model)

    def _load_weights(self, weights: Tensors) -> None:
        for name, tensor in self._weights().items():
            tensor.copy_(weights[name])

    def _optimizer_tensors(self) -> Tensors:
        state = self.optimizer.state_dict()["state"]
        return {f"{index}.{key}": value for index, values in state.items() for key, value in values.items()}

    def _load_optimizer(self, tensors: Tensors) -> None:
        state: dict[int, dict[str, torch.Tensor]] = {}
        for name, tensor in tensors.items():
            index, key = name.split(".")
            state.setdefault(int(index), {})[key] = tensor
        groups = self.optimizer.state_dict()["param_groups"]
        self.optimizer.load_state_dict({"state": state, "param_groups": groups})


def describe_mismatch(then: dict[str, Any], now: dict[str, Any], source: str = "checkpoint") -> str:
    """Name each setting that the source has otherwise than this run; empty if there is none."""
    return "; ".join(
        f"{key}: {source} {then.get(key)}, now {now.get(key)}"
        for key in sorted(then.keys() | now.keys())
        if then.get(key) != now.get(key)
    )
