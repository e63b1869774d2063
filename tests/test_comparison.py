"""The change of perplexity and its interval, and the table over many."""

import csv
import json
import math
from pathlib import Path

import numpy as np
import pytest

from wine_gpt.finetuning.comparison import compare, perplexity_change, read_rows, save_table
from wine_gpt.modeling.scoring import Sums


def sums(words: list[float], nats: list[float]) -> Sums:
    """Return the sums of reviews without unknown words, each ending at 1 nat."""
    return np.array([words, nats, [0] * len(words), [1] * len(words)], np.float64).T


def test_the_change_is_that_of_the_perplexity_over_all_words() -> None:
    """Of 10 and 30 words the first falls by 4 nats, the second rises by 2: 2 nats less over 40 words."""
    change = perplexity_change(sums([10, 30], [30, 90]), sums([10, 30], [26, 92]), seed=0)
    assert change["value"] == pytest.approx(math.exp(-2 / 40) - 1)
    # a draw has both, the first twice, or the second twice
    assert change["low"] == pytest.approx(math.exp(-8 / 20) - 1)
    assert change["high"] == pytest.approx(math.exp(4 / 60) - 1)
    assert change["level"] == 0.95


def test_pairing_makes_the_interval_narrow() -> None:
    """Reviews differ by far more than the two models: equal gains on all leave nothing to doubt."""
    random = np.random.default_rng(0)
    words = random.integers(20, 80, 30).astype(float)
    nats = words * random.uniform(2, 5, 30)
    change = perplexity_change(sums([*words], [*nats]), sums([*words], [*(nats - 0.1 * words)]), seed=0)
    assert [change[key] for key in ("value", "low", "high")] == pytest.approx([math.exp(-0.1) - 1] * 3)


def test_the_interval_holds_the_truth_as_often_as_it_says() -> None:
    """Of 100 experiments with 40 reviews each, whose true gain is 0.05 nats a word."""
    random = np.random.default_rng(0)
    hits = 0
    for seed in range(100):
        words = random.integers(30, 70, 40).astype(float)
        gains = 0.05 * words + random.normal(0, 2, 40)
        change = perplexity_change(sums([*words], [*(3 * words)]), sums([*words], [*(3 * words - gains)]), seed)
        hits += change["low"] <= math.exp(-0.05) - 1 <= change["high"]
    assert 0.88 <= hits / 100 <= 0.99


@pytest.mark.parametrize(
    ("whole", "text", "reviews", "better"),
    [
        (-0.1, -0.1, 5, True),
        # the header alone
        (-0.1, 0.0, 5, True),
        # better at the header, worse at what follows: a prompt that names the variety to the base is better
        (-0.1, 0.1, 5, False),
        (0.1, -0.1, 5, False),
        # too few to tell
        (-0.1, -0.1, 4, False),
    ],
)
def test_better_means_beyond_doubt_and_no_loss_after_the_header(
    whole: float, text: float, reviews: int, better: bool
) -> None:
    before = sums([10.0] * reviews, [30.0] * reviews)
    after = [sums([10.0] * reviews, [30.0 + 10 * change] * reviews) for change in (whole, text)]
    found = compare((before, before), (after[0], after[1]), seed=0)
    assert found["better"] is better
    assert found["test"]["perplexity"] == pytest.approx(math.exp(3 + whole))
    assert found["base_test"]["perplexity"] == pytest.approx(math.exp(3))
    assert found["after_header"]["test"]["perplexity"] == pytest.approx(math.exp(3 + text))


def write_metrics(folder: Path, value: str, reviews: int, change: float) -> None:
    folder.mkdir()
    before = sums([10.0] * 6, [30.0] * 6)
    after = sums([10.0] * 6, [30.0 + 10 * change] * 6)
    metrics = {
        **{"field": "variety", "value": value, "method": "lora"},
        "reviews": {"train": reviews - 9, "validation": 3, "test": 6},
        **compare((before, before), (after, after), seed=0),
        **{"training": {"share": 0.5}, "seconds": 12.3, "size_bytes": 590_000, "copying": {}},
    }
    (folder / "metrics.json").write_text(json.dumps(metrics), encoding="utf-8")


def test_the_table_has_a_row_for_each_value(tmp_path: Path) -> None:
    write_metrics(tmp_path / "gamay", "Gamay", 100, -0.1)
    write_metrics(tmp_path / "odd", 'A|"b", $1 \\ _c', 200, 0.1)
    (tmp_path / "unfinished").mkdir()
    save_table(tmp_path)
    with (tmp_path / "varieties.csv").open(encoding="utf-8", newline="") as content:
        rows = [*csv.DictReader(content)]
    assert [row["value"] for row in rows] == ['A|"b", $1 \\ _c', "Gamay"]
    assert [row["better"] for row in rows] == ["False", "True"]
    assert float(rows[1]["change"]) == pytest.approx(math.exp(-0.1) - 1)
    assert rows[1]["folder"] == "gamay"
    table = (tmp_path / "varieties.md").read_text(encoding="utf-8").splitlines()
    assert len(table) == 4
    assert "| Gamay | lora | 100 (91, 3, 6) | 20.1 | 18.2 | -9.5% (-9.5% to -9.5%) |" in table[3]
    assert "no: the base is kept" in table[2]
    assert "no: the base is kept" not in table[3]
    assert "A\\|" in table[2]
    assert (tmp_path / "varieties.png").read_bytes().startswith(b"\x89PNG")
    assert [row["value"] for row in read_rows(tmp_path)] == ['A|"b", $1 \\ _c', "Gamay"]
