"""The bootstrap intervals, the comparison of a model with its base, and the table over all subsets."""

import csv
import json
import math
from pathlib import Path

import numpy as np
import pytest
from support.finished_runs import ENVIRONMENT, TRAINING

from wine_gpt.evaluation.bootstrap import Interval, nats_per_word, perplexity_change
from wine_gpt.finetuning.results import Comparison
from wine_gpt.finetuning.table import reached, read_subsets, save_table
from wine_gpt.modeling.scoring import Sums


def sums(words: list[float], nats: list[float]) -> Sums:
    """Return the sums of reviews without unknown words, with 1 nat for each end of text."""
    return np.array([words, nats, [0] * len(words), [1] * len(words), words, [1] * len(words)], np.float64).T


def change_of(words: list[float], base: list[float], tuned: list[float], seed: int = 0) -> Interval:
    return perplexity_change(np.array(base, float), np.array(tuned, float), np.array(words, float), seed)


def test_the_change_is_of_the_perplexity_over_all_words() -> None:
    """A text of 10 words falls by 4 nats and one of 30 words rises by 2: 2 nats less over 40 words."""
    change = change_of([10, 30], [30, 90], [26, 92])
    assert change.value == pytest.approx(math.exp(-2 / 40) - 1)
    # a resample has both texts, the first twice, or the second twice
    assert change.low == pytest.approx(math.exp(-8 / 20) - 1)
    assert change.high == pytest.approx(math.exp(4 / 60) - 1)
    assert change.level == 0.95


def test_pairing_makes_the_interval_narrow() -> None:
    """Reviews differ far more than the two models, and equal gains on all reviews give an interval of width 0."""
    random = np.random.default_rng(0)
    words = random.integers(20, 80, 30).astype(float)
    nats = words * random.uniform(2, 5, 30)
    change = change_of([*words], [*nats], [*(nats - 0.1 * words)])
    assert [change.value, change.low, change.high] == pytest.approx([math.exp(-0.1) - 1] * 3)


def test_the_interval_covers_the_true_change_as_often_as_its_level() -> None:
    """100 experiments with 40 reviews each and a true gain of 0.05 nats per word."""
    random = np.random.default_rng(0)
    hits = 0
    for seed in range(100):
        words = random.integers(30, 70, 40).astype(float)
        gains = 0.05 * words + random.normal(0, 2, 40)
        change = change_of([*words], [*(3 * words)], [*(3 * words - gains)], seed)
        hits += change.low <= math.exp(-0.05) - 1 <= change.high
    assert 0.88 <= hits / 100 <= 0.99


def test_nats_per_word_weight_a_text_by_its_words() -> None:
    found = nats_per_word(np.array([10.0, 90.0]), np.array([10.0, 30.0]), seed=0)
    # a resample has both texts, the first twice, or the second twice
    assert [found.value, found.low, found.high] == pytest.approx([100 / 40, 1.0, 3.0])


def test_the_interval_of_a_seed_does_not_change() -> None:
    words = np.array([31.0, 44.0, 52.0, 38.0, 60.0, 47.0])
    base = 3 * words
    change = perplexity_change(base, base + np.array([-3.0, 1.5, -2.5, -4.0, 2.0, -1.0]), words, seed=42)
    assert [change.value, change.low, change.high] == pytest.approx(
        [-0.02540696402319405, -0.0692263253331522, 0.01564376996576369], abs=1e-15
    )


def test_texts_without_a_word_have_no_change() -> None:
    """As the running texts of reviews whose headers fill the model's positions."""
    assert change_of([0] * 6, [0] * 6, [0] * 6) == Interval(0.0, 0.0, 0.0, 0.95)
    # a resample may have the second text only
    change = change_of([10, 0], [30, 0], [29, 0])
    assert [change.value, change.low, change.high] == pytest.approx([math.exp(-0.1) - 1] * 2 + [0])
    before, cut = sums([10.0] * 6, [30.0] * 6), sums([0.0] * 6, [0.0] * 6)
    assert Comparison.of((before, cut), (sums([10.0] * 6, [29.0] * 6), cut), 0, 0.5).better


@pytest.mark.parametrize(
    ("whole", "text", "reviews", "better"),
    [
        (-0.1, -0.1, 5, True),
        # a gain from the header alone
        (-0.1, 0.0, 5, True),
        # worse after the header
        (-0.1, 0.1, 5, False),
        (0.1, -0.1, 5, False),
        # too few reviews
        (-0.1, -0.1, 4, False),
    ],
)
def test_better_means_a_significant_gain_and_no_significant_loss_after_the_header(
    whole: float, text: float, reviews: int, better: bool
) -> None:
    before = sums([10.0] * reviews, [30.0] * reviews)
    after = [sums([10.0] * reviews, [30.0 + 10 * change] * reviews) for change in (whole, text)]
    found = Comparison.of((before, before), (after[0], after[1]), 0, 0.5)
    assert found.better is better
    assert found.whole.tuned.perplexity == pytest.approx(math.exp(3 + whole))
    assert found.whole.base.perplexity == pytest.approx(math.exp(3))
    assert found.after_header.tuned.perplexity == pytest.approx(math.exp(3 + text))


def test_the_ceiling_is_what_knowing_the_value_saves() -> None:
    """With 1 in 4 training reviews of the value, ln 4 nats over 10 words: the perplexity falls by 1 - 4^(-1/10)."""
    before, after = sums([10.0] * 6, [30.0] * 6), sums([10.0] * 6, [29.0] * 6)
    hidden = sums([6.0] * 6, [24.0] * 6)
    text = sums([6.0] * 6, [18.0] * 6)
    found = Comparison.of((before, text), (after, text), 0, 0.25, hidden)
    assert found.ceiling == pytest.approx(4**-0.1 - 1)
    assert found.ceiling_reached == pytest.approx((1 - math.exp(-0.1)) / (1 - 4**-0.1))
    assert found.value_hidden is not None
    assert found.value_hidden.base.nats_per_word == 4
    assert found.value_hidden.perplexity_change.value == pytest.approx(math.exp(-1) - 1)
    saved = found.to_dict()
    assert Comparison.from_dict(saved) == found
    assert (saved["ceiling"], saved["ceiling_reached"]) == (found.ceiling, found.ceiling_reached)
    assert saved["whole"]["base"]["perplexity"] == pytest.approx(math.exp(3))
    # each review has the value, so that it tells nothing
    assert reached(Comparison.of((before, text), (after, text), 0, 1.0)) == ""
    assert reached(found) == "74% of -12.9%"


@pytest.mark.parametrize(
    ("changes", "better", "expected"),
    [
        ([-0.1] * 20, True, "yes (20 reviews)"),
        ([-0.1] * 8, True, "likely (8 reviews: too few to be sure)"),
        ([-0.1] * 4, False, "too few to tell (4 reviews): the base is kept"),
        ([-0.1], False, "too few to tell (1 review): the base is kept"),
        ([-0.1, 0.1] * 15, False, "too few to tell (30 reviews): the base is kept"),
        ([0.1] * 30, False, "no (30 reviews): the base is kept"),
        # alpha 0: the model is the base
        ([0.0] * 30, False, "no (30 reviews): the base is kept"),
    ],
)
def test_the_verdict_names_the_number_of_reviews(changes: list[float], better: bool, expected: str) -> None:
    before = sums([10.0] * len(changes), [30.0] * len(changes))
    after = sums([10.0] * len(changes), [30.0 + 10 * change for change in changes])
    found = Comparison.of((before, before), (after, after), 0, 0.5)
    assert (found.better, found.verdict()) == (better, expected)


def write_metrics(folder: Path, value: str, reviews: int, change: float) -> None:
    folder.mkdir()
    before = sums([10.0] * 6, [30.0] * 6)
    after = sums([10.0] * 6, [30.0 + 10 * change] * 6)
    metrics = {
        **{"field": "variety", "value": value, "method": "lora"},
        "reviews": {"train": reviews - 9, "validation": 3, "test": 6},
        "base": {"path": "runs/base", "weights_sha256": "0" * 64},
        "comparison": Comparison.of((before, before), (after, after), 0, 0.5).to_dict(),
        **{"training": TRAINING, "alpha": 0.5, "validation_by_alpha": {"0.5": {"whole": 3.0, "text": 2.9}}},
        **{"environment": ENVIRONMENT, "copying": None, "seconds": 12.3, "size_bytes": 590_000, "header": {}},
    }
    (folder / "metrics.json").write_text(json.dumps(metrics), encoding="utf-8")


def test_the_table_has_a_row_for_each_value(tmp_path: Path) -> None:
    write_metrics(tmp_path / "gamay", "Gamay", 100, -0.1)
    write_metrics(tmp_path / "odd", 'A|"b", $1 \\ _c\n<b>', 200, 0.1)
    (tmp_path / "unfinished").mkdir()
    # a classifier beside them
    (tmp_path / "variety").mkdir()
    (tmp_path / "variety" / "metrics.json").write_text('{"classes": [], "test": {}}', encoding="utf-8")
    save_table(tmp_path)
    with (tmp_path / "subsets.csv").open(encoding="utf-8", newline="") as content:
        rows = [*csv.DictReader(content)]
    assert [row["value"] for row in rows] == ['A|"b", $1 \\ _c\n<b>', "Gamay"]
    assert [row["better"] for row in rows] == ["False", "True"]
    assert float(rows[1]["change"]) == pytest.approx(math.exp(-0.1) - 1)
    assert rows[1]["folder"] == "gamay"
    table = (tmp_path / "subsets.md").read_text(encoding="utf-8").splitlines()
    assert len(table) == 4
    assert "| Gamay | lora | 100 (91, 3, 6) | 20.1 | 18.2 | -9.5% (-9.5% to -9.5%) |" in table[3]
    assert "| no (6 reviews): the base is kept |" in table[2]
    assert "| likely (6 reviews: too few to be sure) |" in table[3]
    assert table[2].startswith(r'| A\|"b", \$1 \\ \_c &lt;b&gt; | lora |')
    assert (tmp_path / "subsets.png").read_bytes().startswith(b"\x89PNG")
    assert rows[1]["alpha"] == "0.5"
    assert [*read_subsets(tmp_path)] == ["odd", "gamay"]
