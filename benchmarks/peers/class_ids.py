"""Write the splits as the class's notebook encodes them, to a file that numpy alone can read.

python benchmarks/peers/class_ids.py winemag-data-first-8000.json ids.npz

Each split is an int32 array of shape (reviews, 81) with the ids of a review's first words, padded with 0: the first 80
columns are the class's input, the last 80 its target. The ids are those of the class's vocabulary, which are the first
ids of wine_gpt's. The array ``vocabulary`` holds the words.
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import numpy.typing as npt

CONFIG = Path(__file__).parents[2] / "configs" / "class.yaml"
POSITIONS = 80
Ids = npt.NDArray[np.int32]


def main() -> None:
    """Load, split and tokenize by the class config, and write the file."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("data", help="as --data.path")
    parser.add_argument("file", type=Path)
    arguments = parser.parse_args()

    from wine_gpt.config import PretrainConfig
    from wine_gpt.config_io import parse_config
    from wine_gpt.data.reviews import load_reviews
    from wine_gpt.tokenizer import tokenize_splits, train_on_reviews

    config = parse_config(PretrainConfig, [str(CONFIG), "--data.path", arguments.data])
    reviews = load_reviews(config.data)
    tokenizer = train_on_reviews(reviews.splits["train"], config.data, config.tokenizer)
    splits = tokenize_splits(reviews.splits, tokenizer)
    arrays = {name: class_rows(split["input_ids"]) for name, split in splits.items()}
    vocabulary = tokenizer.convert_ids_to_tokens(range(tokenizer.bos_token_id))
    np.savez(arguments.file, vocabulary=np.array(vocabulary), **arrays)


def class_rows(reviews: list[list[int]]) -> Ids:
    """Return rows of words without [BOS] and [EOS], which the class does not have."""
    rows = np.zeros((len(reviews), POSITIONS + 1), dtype=np.int32)
    for row, ids in zip(rows, reviews, strict=True):
        words = ids[1:-1][: POSITIONS + 1]
        row[: len(words)] = words
    return rows


def class_ids(data: str) -> dict[str, Ids]:
    """Return the arrays of ``data``, made in another process to keep its memory out of the caller's."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "ids.npz"
        subprocess.run([sys.executable, __file__, data, str(file)], check=True, stdout=sys.stderr)
        with np.load(file) as arrays:
            return dict(arrays)


if __name__ == "__main__":
    main()
