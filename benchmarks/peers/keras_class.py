"""Train the class's model in Keras, as the class does, for comparison.

pip install -r benchmarks/requirements.txt
python benchmarks/peers/keras_class.py winemag-data-first-8000.json --epochs 5 --seed 42

One block, post-LN, 2 heads of 256, an untied head, Adam, batches of 32 reviews padded to 80, padding counted in the
loss. Prints a JSON object per epoch: seconds of training so far, nats per word of validation and test, and the peak
memory of training in bytes. As in wine_gpt.modeling.scoring, a review's second to 80th words count.
"""

import argparse
import json
import os
import resource
import time
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
from class_ids import POSITIONS, Ids, class_ids
from keras import layers, ops

WIDTH, HEADS, BATCH, DROPOUT = 256, 2, 32, 0.1


def main() -> None:
    """Train and print the figures of each epoch."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("data", help="as --data.path")
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--seed", type=int, default=42)
    arguments = parser.parse_args()
    splits = class_ids(arguments.data)
    keras.utils.set_random_seed(arguments.seed)
    model = build_model(len(splits["vocabulary"]))
    scorer = build_scorer(model)
    train = splits["train"]
    seconds, memory = 0.0, 0
    for epoch in range(arguments.epochs):
        started = time.perf_counter()
        model.fit(train[:, :-1], train[:, 1:], batch_size=BATCH, initial_epoch=epoch, epochs=epoch + 1, verbose=0)
        seconds += time.perf_counter() - started
        # measured before the first scoring, because the class does not score
        memory = memory or peak_memory()
        figures = {name: nats_per_word(scorer, splits[name]) for name in ("validation", "test")}
        print(json.dumps({"epoch": epoch + 1, "seconds": round(seconds, 1), **figures, "memory": memory}), flush=True)


def build_model(words: int) -> keras.Model:
    """Return the class's model, compiled: ids of shape (reviews, positions) to logits over the words."""
    ids = layers.Input((None,), dtype="int32")
    hidden = TokenAndPosition(words)(ids)
    attention = layers.MultiHeadAttention(HEADS, WIDTH, output_shape=WIDTH)
    attended = layers.Dropout(DROPOUT)(attention(hidden, hidden, use_causal_mask=True))
    hidden = layers.LayerNormalization(epsilon=1e-6)(hidden + attended)
    inner = layers.Dense(WIDTH)(layers.Dense(WIDTH, activation="relu")(hidden))
    hidden = layers.LayerNormalization(epsilon=1e-6)(hidden + layers.Dropout(DROPOUT)(inner))
    model = keras.Model(ids, layers.Dense(words)(hidden))
    # without XLA, Keras's default, because it used one core of two and trained at about half the speed
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True), jit_compile=False)
    return model


class TokenAndPosition(layers.Layer):
    """Learned embeddings of words and of positions, added."""

    def __init__(self, words: int) -> None:
        super().__init__()
        self.words = layers.Embedding(words, WIDTH)
        self.positions = layers.Embedding(POSITIONS, WIDTH)

    def call(self, ids: Any) -> Any:  # noqa: ANN401 - Keras's symbolic tensors
        """Return hidden states of shape (reviews, positions, width)."""
        return self.words(ids) + self.positions(ops.arange(ops.shape(ids)[1]))


def build_scorer(model: keras.Model) -> keras.Model:
    """Return the same model, compiled to measure the loss over the words with sample weight 1."""
    scorer = keras.Model(model.input, model.output)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    metric = keras.metrics.SparseCategoricalCrossentropy(from_logits=True, name="nats_per_word")
    scorer.compile(loss=loss, weighted_metrics=[metric], jit_compile=False)
    return scorer


def nats_per_word(scorer: keras.Model, rows: Ids) -> float:
    """Return the mean −ln p of the words of a split, in nats."""
    labels = rows[:, 1:]
    counts = (labels != 0) & (np.arange(POSITIONS) < POSITIONS - 1)
    figures = scorer.evaluate(
        rows[:, :-1], labels, BATCH, sample_weight=counts.astype("float32"), return_dict=True, verbose=0
    )
    return float(figures["nats_per_word"])


def peak_memory() -> int:
    """Return the most resident memory so far, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


if __name__ == "__main__":
    main()
