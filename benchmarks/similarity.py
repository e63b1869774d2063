"""Measure how well embeddings of descriptions find training reviews of the same variety, winery, province and wine.

python benchmarks/similarity.py runs/base runs/base43 runs/base44

All runs must be trained on the same reviews, with the same split. For each test review whose value occurs in the
training split, the training reviews are ranked by the cosine of the descriptions' embeddings. P@5 is the mean fraction
of the first five that have the same value. MRR is the mean of 1/rank of the first such review, 0 beyond rank 100. The
same wine has the same title but for the vintage; because few have another review, those of the validation split are
counted too. The output is a Markdown table: the mean over the runs, beside TF-IDF and the chance of P@5.
"""

import argparse
import re
from pathlib import Path

import numpy as np
import numpy.typing as npt
from datasets import Dataset, DatasetDict, concatenate_datasets
from sklearn.feature_extraction.text import TfidfVectorizer

from wine_gpt.markdown import table
from wine_gpt.tasks.classification.labels import is_named
from wine_gpt.tasks.similarity import encode, load_sentence_model, load_training_reviews, whitening

WINE = "wine"
FIELDS = ("variety", "winery", "province", WINE)
VINTAGE = re.compile(r"\b(19|20)\d\d\b")
RANKS = 100
Matrix = npt.NDArray[np.floating]
# P@5 and MRR of each field
Scores = list[tuple[float, float]]


def main() -> None:
    """Embed the reviews with each run, rank, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0], allow_abbrev=False)
    parser.add_argument("runs", nargs="+", type=Path)
    arguments = parser.parse_args()
    reviews, template = load_training_reviews(arguments.runs[0])
    splits = DatasetDict({name: with_wines(split) for name, split in reviews.splits.items()})
    train, test = splits["train"][template.text_field][:], held_out(splits)[template.text_field][:]
    vectors = TfidfVectorizer(sublinear_tf=True).fit(train)
    found = {"TF-IDF": [score(splits, (vectors.transform(test) @ vectors.transform(train).T).toarray())]}
    for run in arguments.runs:
        model = load_sentence_model(run)
        of_train, of_test = encode(model, train), encode(model, test)
        weight, bias = whitening(of_train)
        mean, whitened = "mean of the last states", "mean of the last states, whitened"
        found.setdefault(mean, []).append(score(splits, cosines(of_test, of_train)))
        found.setdefault(whitened, []).append(
            score(splits, cosines(of_test @ weight.T + bias, of_train @ weight.T + bias))
        )
    print(named(splits))
    print(to_markdown(found, splits))


def with_wines(split: Dataset) -> Dataset:
    """Add the column ``wine``: the title in lower case without the vintage, with single spaces."""
    wines = [" ".join(VINTAGE.sub(" ", title or "").casefold().split()) for title in split["title"]]
    return split.add_column(WINE, wines)


def held_out(splits: DatasetDict) -> Dataset:
    """Return the test reviews, then the validation reviews."""
    return concatenate_datasets([splits["test"], splits["validation"]])


def cosines(of_test: Matrix, of_train: Matrix) -> Matrix:
    """Return the cosine of each test embedding with each training embedding."""
    lengths = (np.linalg.norm(matrix, axis=1, keepdims=True) for matrix in (of_test, of_train))
    return (of_test / next(lengths)) @ (of_train / next(lengths)).T


def score(splits: DatasetDict, similarities: Matrix) -> Scores:
    """Return P@5 and MRR of each field for similarities of shape (held-out reviews, training reviews)."""
    nearest = np.argsort(-similarities, axis=1, kind="stable")[:, :RANKS]
    scores = []
    for field in FIELDS:
        of_train, of_test = values(splits, field)
        hits = (of_train[nearest] == of_test[:, None])[of_test >= 0]
        rank = np.where(hits.any(1), 1 / (hits.argmax(1) + 1), 0)
        scores.append((float(hits[:, :5].mean()), float(rank.mean())))
    return scores


def values(splits: DatasetDict, field: str) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return a field's values as numbers, of the training and of the held-out reviews; -1 is not counted."""
    numbers: dict[str, int] = {}
    of_train = np.array([numbers.setdefault(value, len(numbers)) for value in splits["train"][field]])
    of_held_out = np.array([numbers.get(value, -1) for value in held_out(splits)[field]])
    if field != WINE:
        of_held_out[len(splits["test"]) :] = -1
    return of_train, of_held_out


def chance(splits: DatasetDict, field: str) -> float:
    """Return P@5 of a random order: the mean fraction of the training reviews that have the same value."""
    of_train, of_test = values(splits, field)
    return float((np.bincount(of_train) / len(of_train))[of_test[of_test >= 0]].mean())


def named(splits: DatasetDict) -> str:
    """Return how many test descriptions name their variety, which helps to find others that do."""
    test = splits["test"]
    count = sum(map(is_named, test["variety"], test["description"]))
    counts = ", ".join(f"{field} {np.count_nonzero(values(splits, field)[1] >= 0)}" for field in FIELDS)
    return f"{count} of {len(test)} test descriptions name their variety; reviews whose value occurs: {counts}"


def to_markdown(found: dict[str, list[Scores]], splits: DatasetDict) -> str:
    """Return a table of the means over the runs."""
    rows = [["chance", *(cell for field in FIELDS for cell in (f"{chance(splits, field):.3f}", "-"))]]
    for name, runs in found.items():
        means = np.mean(runs, axis=0)
        rows.append([name, *(f"{value:.3f}" for value in means.ravel())])
    return table(["", *(f"{field} {figure}" for field in FIELDS for figure in ("P@5", "MRR"))], rows)


if __name__ == "__main__":
    main()
