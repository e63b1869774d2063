"""Run a training that is killed at random moments and goes on each time; print how it ended, as JSON.

python tests/killed_runs.py FOLDER MICRO_BATCHES KILLS

One process imports torch and forks a child for each try, since most of a start is the import.
"""

import dataclasses
import json
import os
import random
import signal
import sys
import time
from pathlib import Path

import torch
from toy_training import TRAINING, make_splits, make_tokenizer, make_trainer

from wine_gpt import checkpoint

# a checkpoint after each step: so about half of the kills hit one that is being written
CONFIG = dataclasses.replace(TRAINING, checkpoint_steps=1, keep_checkpoints=2)


def main() -> None:
    """Train undisturbed and disturbed, and print both ends and how often a kill hit."""
    folder, micro_batches, kills = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    torch.set_num_threads(1)
    started = time.monotonic()
    assert try_once(folder / "whole", micro_batches, after=None)
    length = time.monotonic() - started
    moments = random.Random(micro_batches)
    hits, half_written = 0, 0
    while hits < kills:
        # from the very start to about a quarter of the run, so that a run is killed again and again
        done = try_once(folder / "killed", micro_batches, after=moments.uniform(0, length / 4))
        hits += not done
        half_written += any((folder / "killed").glob(".tmp-step-*"))
        if done:
            compare(folder)
            for saved in (folder / "killed").glob("step-*"):
                saved.rename(folder / f"finished-{hits}-{saved.name}")
    assert try_once(folder / "killed", micro_batches, after=None)
    compare(folder)
    print(json.dumps({"hits": hits, "half_written": half_written}))


def try_once(folder: Path, micro_batches: int, after: float | None) -> bool:
    """Go on in a child that is killed after so many seconds; tell whether it finished before."""
    child = os.fork()
    if child == 0:
        run(folder, micro_batches)
        os._exit(0)
    if after is not None:
        time.sleep(after)
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0, status
    return not os.WIFSIGNALED(status)


def run(folder: Path, micro_batches: int) -> None:
    """Train from the newest checkpoint to the end."""
    sys.stderr = open(os.devnull, "w")  # noqa: SIM115 - the child ends with it
    config = dataclasses.replace(CONFIG, micro_batches=micro_batches)
    trainer = make_trainer(folder, make_tokenizer(), make_splits(), config)
    newest, problems = checkpoint.load_newest(folder)
    # what was being written when the kill came must not even look like a checkpoint
    assert not problems, problems
    if newest is not None:
        trainer.resume(newest)
    trainer.run()


def compare(folder: Path) -> None:
    """Assert that both runs ended in the same bits: weights, best weights, optimizer, curve, figures and samples."""
    ends = [checkpoint.load_newest(folder / name)[0] for name in ("whole", "killed")]
    assert ends[0] is not None
    assert ends[1] is not None
    assert ends[0].step == ends[1].step
    for group, tensors in ends[0].tensors.items():
        for name, tensor in tensors.items():
            assert torch.equal(tensor, ends[1].tensors[group][name]), (group, name)
    states = [{**end.state["training"], "seconds": 0} for end in ends if end is not None]
    assert states[0] == states[1]


if __name__ == "__main__":
    main()
