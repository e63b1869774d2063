"""Create the Accelerator, and restore the process-wide state that training changes."""

import contextlib
import os
import random
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.logging import get_logger
from accelerate.state import AcceleratorState, GradientState, PartialState
from accelerate.tracking import get_available_trackers
from accelerate.utils import (
    DistributedDataParallelKwargs,
    GradientAccumulationPlugin,
    TorchDynamoPlugin,
    get_cpu_distributed_information,
    parse_flag_from_env,
)

from wine_gpt.config import TrainingConfig
from wine_gpt.config_io import is_path, to_flat
from wine_gpt.errors import UserError
from wine_gpt.installation import install_command
from wine_gpt.modeling.cross_entropy import chunk_bytes
from wine_gpt.processes import (
    describe_join_failure,
    named_lost_process,
    require_environment,
    require_equal,
    shared_errors,
    wait_for_work,
    watched_launcher,
)
from wine_gpt.training.hardware import choose_mixed_precision, float32_library, tuned_runtime
from wine_gpt.training.record import Environment
from wine_gpt.training.trackers import finish_trackers

logger = get_logger(__name__)

# Accelerate's engines that shard the model: a checkpoint saves whole tensors only
ENGINES = ("FSDP", "DEEPSPEED", "MEGATRON_LM", "PARALLELISM_CONFIG")
# environment variables of accelerate that are refused unless they have this value, and advice
REFUSED_VARIABLES: dict[str, tuple[str, str]] = {
    "ACCELERATE_GRADIENT_ACCUMULATION_STEPS": ("1", "set training.micro_batches, the forward passes of one step"),
    "ACCELERATE_DYNAMO_BACKEND": ("no", "leave out --dynamo_backend"),
    "ACCELERATE_USE_SAGEMAKER": ("false", "SageMaker's library of processes is not used, so unset it"),
}


@contextlib.contextmanager
def accelerator_session(config: TrainingConfig, folder: Path) -> Iterator[Accelerator]:
    """Create an Accelerator for one training and end it, so that a process can train again with other settings.

    The process's state is restored at the end, except for the caches that :func:`tuned_runtime` limits.

    Args:
        config: its precision and trackers are used.
        folder: see :func:`make_accelerator`.

    Raises:
        UserError: on all processes; see :func:`make_accelerator`.
    """
    with contextlib.ExitStack() as stack:
        with shared_errors():
            # on failure _new_accelerator restores the caller's PartialState first, because shared_errors needs it to
            # gather the error
            accelerator = stack.enter_context(_new_accelerator(config, folder))
        try:
            with named_lost_process():
                yield accelerator
        except BaseException:
            finish_trackers(accelerator)
            # with several processes the group is kept, because destroying it waits for processes that may be dead
            if accelerator.num_processes == 1:
                accelerator.end_training()
            raise
        # free DDP before destroying the process group, because the reverse order deadlocks on the GIL
        accelerator.free_memory()
        accelerator.end_training()


@contextlib.contextmanager
def _new_accelerator(config: TrainingConfig, folder: Path) -> Iterator[Accelerator]:
    mixed_precision = choose_mixed_precision(config.mixed_precision)
    with watched_launcher(), restored_state(), tuned_runtime(mixed_precision):
        yield make_accelerator(config, folder, mixed_precision)


def make_accelerator(config: TrainingConfig, folder: Path, mixed_precision: str) -> Accelerator:
    """Join the launched processes and log the precision.

    Args:
        config: its trackers are used.
        folder: the folder that trackers write to.
        mixed_precision: the precision, which is not ``auto``.

    Raises:
        UserError: if a tracker is not installed, or the device or the launcher's settings are not supported.
    """
    _require_trackers(config.tracker_names)
    require_environment()
    _require_supported_launch()
    launched = get_cpu_distributed_information().world_size
    try:
        accelerator = Accelerator(
            mixed_precision=mixed_precision,
            log_with=config.tracker_names or None,
            project_dir=folder,
            # reduce gradients in place instead of in a copy
            kwargs_handlers=[DistributedDataParallelKwargs(gradient_as_bucket_view=True)],
            # as plugins, because accelerate would read environment variables instead
            gradient_accumulation_plugin=GradientAccumulationPlugin(num_steps=1),
            dynamo_plugin=TorchDynamoPlugin(backend="NO"),
            # accelerate joins processes without a GPU only if cpu=True; otherwise each would train alone and write
            # to the same folder
            cpu=launched > 1 and not torch.accelerator.is_available(),
        )
    except ValueError as error:
        if "MASTER_" in str(error) or "environment variable" in str(error):
            raise UserError(describe_join_failure(error)) from error
        raise UserError(f"training.mixed_precision {mixed_precision}: {error}") from error
    wait_for_work()
    if mixed_precision == "fp16" and accelerator.device.type == "cpu":
        # accelerate would train in float32 without a word if there are several processes
        raise UserError("training.mixed_precision fp16: fp16 needs a GPU; take auto, bf16 or no")
    if accelerator.num_processes != launched:
        raise UserError(f"{launched} processes were launched, but accelerate joined {accelerator.num_processes}")
    logger.info(
        f"precision: mixed {mixed_precision}, float32 matmuls by {float32_library()}, "
        f"{chunk_bytes(accelerator.device) >> 20} MiB of logits at a time"
    )
    return accelerator


def require_equal_settings(config: object, accelerator: Accelerator) -> None:
    """Check that all processes have equal settings and versions; paths may differ between machines.

    Args:
        config: a root config.
        accelerator: for the precision, which ``auto`` may choose by the machine.

    Raises:
        UserError: on all processes, with the first rank that differs and each difference.
    """
    # the content of files and folders is compared instead
    settings = {key: value for key, value in to_flat(config).items() if not is_path(key, value)}
    environment = Environment.of(accelerator.device)
    versions = {"python": environment.python, **environment.packages}
    values = {**settings, "training.mixed_precision": accelerator.mixed_precision, **versions}
    require_equal(values, "every machine needs the same command, config file and versions")


@contextlib.contextmanager
def restored_state() -> Iterator[None]:
    """Restore accelerate's singletons and the random generators of Python, NumPy and torch on leaving.

    Inside, accelerate's singletons are empty at first, so that an Accelerator can be created with other settings than
    the caller's.
    """
    # accelerate offers no public way to end its singletons
    singletons: list[dict[str, object]] = [
        state._shared_state for state in (PartialState, AcceleratorState, GradientState)
    ]
    saved = [dict(singleton) for singleton in singletons]
    for singleton in singletons:
        singleton.clear()
    try:
        with restored_generators():
            yield
    finally:
        for singleton, values in zip(singletons, saved, strict=True):
            singleton.clear()
            singleton.update(values)


@contextlib.contextmanager
def restored_generators() -> Iterator[None]:
    """Restore the random generators of Python, NumPy and torch on leaving."""
    python, numpy = random.getstate(), np.random.get_state()  # noqa: NPY002
    # only if CUDA is already in use, because initializing it takes memory on every GPU
    gpus = range(torch.cuda.device_count()) if torch.cuda.is_initialized() else ()
    try:
        with torch.random.fork_rng(devices=gpus):
            yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)  # noqa: NPY002


def _require_trackers(names: list[str]) -> None:
    """Raise for a tracker that is not installed, because accelerate would silently leave it out."""
    installed = [str(tracker) for tracker in get_available_trackers()]
    for name in names:
        if name not in installed:
            raise UserError(f"training.trackers: {name} is not installed: {install_command('tracking')}")


def _require_supported_launch() -> None:
    """Raise for a setting of the launcher that would change the result or the checkpoints."""
    for name in ENGINES:
        if parse_flag_from_env(f"ACCELERATE_USE_{name}"):
            raise UserError(
                f"accelerate's config asks for {name}, which is not supported: the model fits on any device, so take "
                "configs/accelerate/gpus.yaml or machines.yaml, where each has a copy"
            )
    for name, (harmless, advice) in REFUSED_VARIABLES.items():
        value = os.environ.get(name, harmless)
        if value.lower() != harmless:
            raise UserError(f"{name}={value} is not supported: {advice}")
