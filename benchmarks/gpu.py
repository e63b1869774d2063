"""Measure training on a GPU: tests, speed by batch size and mode, and a run of the full size. At most 8 minutes.

python benchmarks/gpu.py                        # on an H100; writes gpu.md and gpu.json to $OUT, or to gpu-results/
python benchmarks/gpu.py --device cpu --small   # tries all stages on a CPU; --patience 10 on a busy machine

The stages run the tests marked gpu, measure a step at 2,048, 16,384 and 65,536 positions (eager, CUDA graphs,
torch.compile, transformers' Trainer), and train the base config on 130,000 synthetic records. Each stage is a process
with a limit, and its results are written at once, so that nothing is lost if the whole is stopped.

wine_gpt need not be installed. The machine needs torch, transformers, tokenizers, accelerate, datasets, pyarrow,
draccus, httpx2, charset-normalizer, matplotlib, peft, pytest and what these need.
"""

import argparse
import contextlib
import dataclasses
import functools
import gc
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
MODES = ("eager", "graphs", "compile", "reduce-overhead")
# positions of a review: the mean of Kaggle's
POSITIONS = 58
WARMUP, STEPS = 5, 20


@dataclass(frozen=True)
class Stage:
    """A part of the measurement: a command, and its limit in seconds."""

    name: str
    command: list[str]
    limit: int


@dataclass
class Report:
    """What was found so far, written after every change.

    Attributes:
        folder: where gpu.json, gpu.md and log.txt are written.
        stages: by name: the exit code, the seconds, and the last lines of output.
        rows: what the stages printed as lines of JSON.
    """

    folder: Path
    stages: dict[str, dict[str, Any]] = field(default_factory=dict)
    rows: list[dict[str, Any]] = field(default_factory=list)

    def write(self) -> None:
        """Write the JSON and the Markdown, each whole or not at all."""
        content = json.dumps({"stages": self.stages, "rows": self.rows}, indent=1)
        for name, text in (("gpu.json", content), ("gpu.md", self.markdown())):
            temporary = self.folder / f".{name}"
            temporary.write_text(text + "\n", encoding="utf-8")
            temporary.replace(self.folder / name)

    def markdown(self) -> str:
        """Return the rows as tables, one for each kind, and the stages."""
        lines = ["# wine_gpt on a GPU", ""]
        for kind in dict.fromkeys(row["kind"] for row in self.rows):
            rows = [
                {key: value for key, value in row.items() if key != "kind"} for row in self.rows if row["kind"] == kind
            ]
            keys = list(dict.fromkeys(key for row in rows for key in row))
            lines += [f"## {kind}", "", f"| {' | '.join(keys)} |", "|---" * len(keys) + "|"]
            lines += [f"| {' | '.join(str(row.get(key, '')) for key in keys)} |" for row in rows] + [""]
        lines += ["## stages", "", "| stage | exit code | seconds | last line |", "|---|---|---|---|"]
        lines += [
            f"| {name} | {stage['exit']} | {stage['seconds']} | {stage['tail'][-1] if stage['tail'] else ''} |"
            for name, stage in self.stages.items()
        ]
        return "\n".join(lines)


def main() -> None:
    """Run all stages, or with --stage one part of one in this process."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument("--small", action="store_true", help="a small model and little data, to try the stages")
    parser.add_argument("--out", type=Path, default=Path(os.environ.get("OUT", "gpu-results")))
    parser.add_argument("--seconds", type=int, default=470, help="the limit of all stages together")
    parser.add_argument(
        "--patience", type=float, default=1.0, help="a factor of each stage's limit, for a busy machine"
    )
    parser.add_argument(
        "--only", nargs="+", metavar="STAGE", help="of environment, tests, full, transformers, " + ", ".join(MODES)
    )
    parser.add_argument("--stage", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.stage:
        for row in IN_PROCESS[options.stage](options.device, options.small):
            print(json.dumps(row), flush=True)
        return
    options.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as work:
        run_all(options, stages(options, Path(work)))


def stages(options: argparse.Namespace, work: Path) -> list[Stage]:
    """Return the stages, the most important first."""
    flags = ["--device", options.device, *(["--small"] if options.small else [])]
    own = [sys.executable, str(Path(__file__).resolve()), *flags, "--stage"]
    pytest = [sys.executable, "-m", "pytest", "--noconftest", "-q", "-p", "no:cacheprovider", "tests/test_gpu.py"]
    count, reviews = "1500" if options.small else "130000", str(work / "reviews.jsonl")
    write = [sys.executable, "-m", "tools.sample_grammar", "--count", count, "--output", reviews]
    tiny = [
        "--model.n_layer",
        "1",
        "--model.n_embd",
        "32",
        "--model.n_head",
        "2",
        "--model.n_inner",
        "32",
        "--training.epochs",
        "2",
    ]
    pretrain = [sys.executable, "scripts/pretrain.py", "configs/base.yaml", "--data.path", reviews]
    pretrain += tiny if options.small else []

    def full(tokens: int, limit: int) -> Stage:
        output = ["--training.batch_tokens", str(tokens), "--output_dir", str(work / f"base-{tokens}")]
        return Stage(f"full, {tokens} positions a step", [*pretrain, *output], limit)

    return [
        Stage("environment", [*own, "environment"], 40),
        Stage("tests", pytest, 150),
        Stage("eager", [*own, "eager"], 60),
        Stage("write records", write, 60),
        full(1024 if options.small else 16384, 170),
        Stage("graphs", [*own, "graphs"], 60),
        Stage("transformers", [*own, "transformers"], 60),
        Stage("compile", [*own, "compile"], 90),
        Stage("reduce-overhead", [*own, "reduce-overhead"], 90),
        full(2048, 240),
    ]


def run_all(options: argparse.Namespace, planned: list[Stage]) -> None:
    """Run each stage within its limit and that of all, and write what it found."""
    report, deadline = Report(options.out), time.monotonic() + options.seconds
    for stage in planned:
        needed = stage.name.partition(",")[0].replace("write records", "full")
        left = deadline - time.monotonic()
        if (options.only and needed not in options.only) or left < 10:
            continue
        run_stage(stage, report, min(stage.limit * options.patience, left), options.device)
        if stage.name.startswith("full"):
            report.rows += full_rows(Path(stage.command[-1]), stage.name, report.folder)
        report.write()
    print((report.folder / "gpu.md").read_text(encoding="utf-8"))


def run_stage(stage: Stage, report: Report, limit: float, device: str) -> None:
    """Run a stage's command, at most ``limit`` seconds; record its rows as it prints them."""
    started, tail = time.monotonic(), []
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]),
        "PYTHONUNBUFFERED": "1",
        "HF_HUB_OFFLINE": "1",
        "HF_DATASETS_CACHE": str(Path(tempfile.gettempdir()) / "wine-gpt-datasets"),
    }
    if device == "cpu":
        environment |= {"GPU_TESTS_ON": "cpu", "CUDA_VISIBLE_DEVICES": ""}
    process = subprocess.Popen(
        stage.command,
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    timer = threading.Timer(limit, kill_session, [process.pid])
    timer.start()
    assert process.stdout is not None
    try:
        with (report.folder / "log.txt").open("a", encoding="utf-8") as log:
            log.write(f"=== {stage.name}: {' '.join(stage.command)}\n")
            for line in process.stdout:
                log.write(line)
                log.flush()
                if line.startswith('{"kind"'):
                    report.rows.append(json.loads(line))
                    report.write()
                elif line.strip():
                    tail = [*tail[-9:], line.strip().replace("|", "/")]
        code = process.wait()
    finally:
        timer.cancel()
        kill_session(process.pid)
    spent = round(time.monotonic() - started, 1)
    report.stages[stage.name] = {"exit": code, "seconds": spent, "limit": round(limit), "tail": tail}
    print(f"{stage.name}: exit {code}, {spent} s", flush=True)


def kill_session(leader: int) -> None:
    """Kill a process and those that it has started, because they would slow down the next stage."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(leader, signal.SIGKILL)


def full_rows(run: Path, name: str, out: Path) -> list[dict[str, Any]]:
    """Return a finished run's summary and losses by epoch, and copy its loss curve."""
    if not (run / "metrics.json").exists():
        return []
    metrics = json.loads((run / "metrics.json").read_text(encoding="utf-8"))
    training, test = metrics["training"], metrics.get("test", metrics["validation"])
    shutil.copy(run / "loss.png", out / f"loss-{run.name}.png")
    keys = ("steps", "tokens", "seconds", "tokens_per_second", "mixed_precision", "padding_fraction", "best_epoch")
    memory = metrics["peak_memory_bytes"]
    summary = {key: training.get(key) for key in keys}
    summary |= {"test nats per word": round(test["nats_per_word"], 4), "gpu GB": giga(memory.get("gpu"))}
    losses = [{"kind": f"loss by epoch: {name}", **epoch} for epoch in training["epochs"]]
    return [{"kind": "full run", "run": name, **summary}, *losses]


# in the processes of the stages


def environment(device: str, small: bool) -> Iterator[dict[str, Any]]:
    """Yield the versions and the device."""
    import accelerate
    import datasets
    import torch
    import transformers

    for package in (torch, transformers, accelerate, datasets):
        yield {"kind": "environment", "what": package.__name__, "value": package.__version__}
    yield {"kind": "environment", "what": "python", "value": sys.version.split()[0]}
    name = torch.cuda.get_device_name() if device == "cuda" else f"CPU, {torch.get_num_threads()} threads"
    yield {"kind": "environment", "what": "device", "value": name}


def sizes(small: bool) -> tuple[int, ...]:
    """Return the positions of a step that are measured."""
    return (232, 464) if small else (2048, 16384, 65536)


def build_trainer(device: str, small: bool, tokens: int) -> Any:  # noqa: ANN401 - torch is imported where needed
    """Return a trainer of the base config's model on random reviews of one length, so that batches have one shape."""
    import numpy as np
    from accelerate import Accelerator
    from datasets import Dataset, DatasetDict
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast

    from wine_gpt.config import PretrainConfig
    from wine_gpt.config_io import parse_config
    from wine_gpt.modeling.gpt2 import build_model
    from wine_gpt.modeling.loss import LanguageModelLoss
    from wine_gpt.training.objective import LanguageModeling
    from wine_gpt.training.trainer import Trainer

    words = 200 if small else 10_002
    special = ["[PAD]", "[UNK]", "[BOS]", "[EOS]"]
    names = [*special, *(f"w{index}" for index in range(words - len(special)))]
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer(models.WordLevel({name: index for index, name in enumerate(names)}, "[UNK]")),
        **dict(zip(("pad_token", "unk_token", "bos_token", "eos_token"), special, strict=True)),
    )
    config = parse_config(PretrainConfig, [str(ROOT / "configs" / "base.yaml")])
    shape = dataclasses.replace(config.model, n_embd=64, n_inner=64) if small else config.model
    precision = "bf16" if device == "cuda" else "no"
    training = dataclasses.replace(config.training, batch_tokens=tokens, epochs=1, mixed_precision=precision)
    accelerator = Accelerator(mixed_precision=precision, cpu=device == "cpu")
    rows = tokens // POSITIONS * (WARMUP + 2 * STEPS)
    ids = np.random.default_rng(0).integers(len(special), words, (rows, POSITIONS + 1), dtype=np.int32)
    train = Dataset.from_dict({"input_ids": list(ids), "length": [POSITIONS + 1] * rows})
    splits = DatasetDict(train=train, validation=train.select([]))
    objective = LanguageModeling(LanguageModelLoss(build_model(shape, tokenizer, 42)), tokenizer, splits, "")
    trainer = Trainer(objective, training, accelerator, Path(tempfile.gettempdir()), {})
    trainer.module.train()
    return trainer


def timed(device: str, step: Callable[[], object]) -> float:
    """Return the median seconds of a step: of five runs of equally many steps, waited for at the end of each."""
    import torch

    for _ in range(WARMUP):
        step()
    found = []
    for _ in range(5):
        wait = torch.cuda.synchronize if device == "cuda" else int
        wait()
        started = time.perf_counter()
        for _ in range(STEPS // 5):
            step()
        wait()
        found.append((time.perf_counter() - started) / (STEPS // 5))
    return statistics.median(found)


def speed_row(mode: str, device: str, config: Any, tokens: int, seconds: float, first: float) -> dict[str, Any]:  # noqa: ANN401
    """Return the figures of one mode and batch size; ``first`` is the time of the first step, which compiles."""
    import torch

    from wine_gpt.training.hardware import peak_flops
    from wine_gpt.training.utilization import flops_per_token

    tokens = tokens // POSITIONS * POSITIONS
    flops = flops_per_token(config, POSITIONS) * tokens / seconds
    peak = peak_flops(torch.cuda.get_device_name(), "bf16") if device == "cuda" else None
    return {
        "kind": "speed",
        "mode": mode,
        "positions a step": tokens,
        "ms a step": round(seconds * 1e3, 3),
        "tokens/s": round(tokens / seconds),
        "MFU": f"{flops / peak:.2%}" if peak else "unknown peak",
        "peak GB": giga(torch.cuda.max_memory_allocated() if device == "cuda" else None),
        "first step s": round(first, 2),
    }


def giga(size: int | None) -> float | None:
    """Return bytes in GB."""
    return None if size is None else round(size / 1e9, 3)


def speed(device: str, small: bool, mode: str) -> Iterator[dict[str, Any]]:
    """Yield the speed of whole training steps of one mode at each batch size."""
    # each in a call of its own, whose trainer is not alive in the next one
    for tokens in sizes(small):
        yield speed_of_size(device, small, mode, tokens)


def speed_of_size(device: str, small: bool, mode: str, tokens: int) -> dict[str, Any]:
    """Return the speed of one mode and batch size."""
    import torch

    start_peak(device)
    trainer = build_trainer(device, small, tokens)
    if mode in ("compile", "reduce-overhead"):
        transformer = trainer.module.model.transformer
        options = {} if mode == "compile" else {"mode": mode}
        transformer.forward = torch.compile(transformer.forward, dynamic=False, **options)
    started = time.perf_counter()
    step = graphed_step(trainer) if mode == "graphs" else eager_step(trainer)
    step()
    if device == "cuda":
        torch.cuda.synchronize()
    first = time.perf_counter() - started
    return speed_row(mode, device, trainer.module.model.config, tokens, timed(device, step), first)


def start_peak(device: str) -> None:
    """Free what earlier measurements left, and measure the GPU's peak memory from now on."""
    import torch

    gc.collect()
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()


def eager_step(trainer: Any) -> Callable[[], object]:  # noqa: ANN401
    """Return the next step of the training loop at each call."""
    steps = iter(range(trainer.plan.total_steps))
    return lambda: trainer.train_step(next(steps))


def graphed_step(trainer: Any) -> Callable[[], object]:  # noqa: ANN401
    """Return a step that replays a CUDA graph of forward pass, backward pass, clipping and update.

    As in the training loop, the batch is planned and copied to the GPU, and the loss of the step before is read. Left
    out is what a graph can't change: the learning rate, the seed of dropout, and skipping a step that is not finite.
    """
    import torch

    from wine_gpt.training.step import HostCopy

    updater, device = trainer.updater, trainer.accelerator.device
    # all reviews have one length, so all steps have equally many
    units = updater.batch(0).units

    def inputs(step: int) -> tuple[Any, ...]:
        batch = updater.batch(step)
        found: tuple[Any, ...] = trainer.objective.inputs(batch.micro_batches[0], batch.width, device)
        return found

    static, steps = inputs(0), iter(range(1, trainer.plan.total_steps))
    # the loss, and whether loss and gradient are finite
    outcome, queued = torch.zeros(2, device=device), None

    def step() -> None:
        nats = updater.wrapped(*static)
        (nats / units).backward()
        norm = torch.nn.utils.clip_grad_norm_(trainer.module.parameters(), trainer.config.max_grad_norm)
        outcome.copy_(torch.stack([nats.detach(), torch.isfinite(nats.detach() + norm).to(nats.dtype)]))
        updater.muon_adamw.step()
        updater.muon_adamw.zero_grad()

    if device.type == "cuda":
        run = captured(step, updater.muon_adamw)
    else:
        print("CUDA graphs need a GPU: the same step runs without a graph", flush=True)
        run = step

    def replay() -> None:
        nonlocal queued
        for target, source in zip(static, inputs(next(steps)), strict=True):
            target.copy_(source, non_blocking=True)
        run()
        before, queued = queued, HostCopy.of(outcome)
        if before is not None:
            before.wait()

    return replay


def captured(step: Callable[[], object], optimizer: Any) -> Callable[[], object]:  # noqa: ANN401
    """Warm up a step on a stream of its own, as torch.cuda.graph needs it, and return the replay of its graph."""
    import torch

    for group in optimizer.param_groups:
        group["capturable"] = True
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            step()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step()
    return graph.replay


def transformers_loop(device: str, small: bool) -> Iterator[dict[str, Any]]:
    """Yield the speed of transformers' Trainer with the same model, batches and precision, and AdamW.

    It computes a position for the last id too, which our loop only predicts; so its rows are one id shorter.
    """
    import torch
    import transformers

    class Clock(transformers.TrainerCallback):  # type: ignore[misc]
        """Notes the time after each step; waits for the GPU where the measurement begins and ends."""

        def __init__(self) -> None:
            self.times: list[float] = []

        def on_step_end(self, *_: Any, **__: Any) -> None:  # noqa: ANN401
            if device == "cuda" and len(self.times) in (WARMUP, WARMUP + STEPS - 1):
                torch.cuda.synchronize()
            self.times.append(time.perf_counter())

    for tokens in sizes(small):
        config, data = config_and_data(device, small, tokens)
        with tempfile.TemporaryDirectory() as folder:
            arguments = transformers.TrainingArguments(
                folder,
                per_device_train_batch_size=tokens // POSITIONS,
                max_steps=WARMUP + STEPS,
                bf16=device == "cuda",
                use_cpu=device == "cpu",
                report_to="none",
                save_strategy="no",
                logging_strategy="no",
                dataloader_num_workers=0,
                disable_tqdm=True,
            )
            clock = Clock()
            start_peak(device)
            # a new config, because ours names our attention
            model = transformers.GPT2LMHeadModel(transformers.GPT2Config.from_dict(config.to_dict()))
            started = time.perf_counter()
            transformers.Trainer(model, arguments, train_dataset=data.with_format("torch"), callbacks=[clock]).train()
        times = clock.times
        seconds = (times[-1] - times[WARMUP]) / (len(times) - 1 - WARMUP)
        yield speed_row("transformers' Trainer, AdamW", device, config, tokens, seconds, times[0] - started)


def config_and_data(device: str, small: bool, tokens: int) -> tuple[Any, Any]:
    """Return the config and the training rows of a trainer that is not alive while another one is measured."""
    ours = build_trainer(device, small, tokens)
    reviews = ours.objective.train_split.remove_columns("length")

    def to_rows(batch: dict[str, Any]) -> dict[str, Any]:
        rows = [ids[:POSITIONS] for ids in batch["input_ids"]]
        return {"input_ids": rows, "labels": rows}

    return ours.module.model.config, reviews.map(to_rows, batched=True)


IN_PROCESS: dict[str, Callable[[str, bool], Iterator[dict[str, Any]]]] = {
    "environment": environment,
    "transformers": transformers_loop,
    **{mode: functools.partial(speed, mode=mode) for mode in MODES},
}


if __name__ == "__main__":
    main()
