"""Measure how long the class config trains until it reaches the best loss of the class's Keras model.

pip install -r benchmarks/requirements.txt
python benchmarks/time_to_loss.py ../shared/data/winemag-data-first-8000.json --seeds 42 43 44

For each seed the Keras model (benchmarks/peers/keras_class.py) trains for 5 epochs, then scripts/pretrain.py for the
epochs of configs/class.yaml, on the same reviews and words. Both are scored on the same validation split after each
epoch. Seconds exclude scoring; those of our runs are divided evenly among the optimizer steps.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]

Epochs = list[tuple[float, float]]


def main() -> None:
    """Train both for each seed and print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("data")
    parser.add_argument("--seeds", type=int, nargs="+", default=[42])
    arguments = parser.parse_args()
    print("| seed | Keras's best epoch | its validation nats | its seconds | ours after | seconds | ratio |")
    print("|---|---|---|---|---|---|---|")
    for seed in arguments.seeds:
        peer, ours = keras_epochs(arguments.data, seed), class_epochs(arguments.data, seed)
        seconds, nats = min(peer, key=lambda epoch: epoch[1])
        best = f"| {seed} | {peer.index((seconds, nats)) + 1} | {nats:.3f} | {seconds:.0f} |"
        reached = next((epoch for epoch in ours if epoch[1] <= nats), None)
        if reached is None:
            print(best, f"not in {len(ours)} epochs: {min(nats for _, nats in ours):.3f} | | |")
        else:
            epoch, ratio = ours.index(reached) + 1, reached[0] / seconds
            print(best, f"{epoch} epochs: {reached[1]:.3f} | {reached[0]:.0f} | {ratio:.2f} |", flush=True)


def keras_epochs(data: str, seed: int) -> Epochs:
    """Return the Keras model's seconds and validation nats per word after each epoch."""
    command = [sys.executable, str(ROOT / "benchmarks" / "peers" / "keras_class.py"), data, "--seed", str(seed)]
    output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    epochs = [json.loads(line) for line in output.splitlines() if line.startswith("{")]
    return [(epoch["seconds"], epoch["validation"]) for epoch in epochs]


def class_epochs(data: str, seed: int) -> Epochs:
    """Return the class config's seconds and validation nats per word after each epoch."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, str(ROOT / "scripts" / "pretrain.py"), str(ROOT / "configs" / "class.yaml")]
        settings = ["--data.path", data, "--training.seed", str(seed), "--output_dir", folder]
        subprocess.run([*command, *settings], check=True, stdout=subprocess.DEVNULL)
        training = json.loads((Path(folder) / "metrics.json").read_text(encoding="utf-8"))["training"]
    second = training["seconds"] / training["steps"]
    return [(epoch["step"] * second, epoch["nats_per_word"]) for epoch in training["epochs"]]


if __name__ == "__main__":
    main()
