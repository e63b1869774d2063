"""A review's split depends on its words and the seed alone."""

from pathlib import Path
from random import Random

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wine_gpt.config import LARGEST, DataConfig
from wine_gpt.data import hash_set
from wine_gpt.data.records import ReviewFilter, content_hashes, normalized, shorten, split_of
from wine_gpt.data.reviews import load_reviews

CONFIG = DataConfig(prompt_fields=("country",), validation_fraction=0.3, test_fraction=0.3)
# few letters, so that duplicates occur; with letters that change in lower case and several kinds of white space
TEXTS = st.lists(st.text("aA bB\n\u00a0éÉİΣς", max_size=6), max_size=30)
SHARED_DATA = Path(__file__).parents[2] / "shared" / "data" / "winemag-data-first-8000.json"


def assign(texts: list[str], config: DataConfig = CONFIG, batch: int = 4) -> dict[str, str]:
    """Return the split of each description that the filter keeps."""
    batches = (
        pa.record_batch([["US"] * len(rows), pa.array(rows, pa.string())], names=["country", "description"])
        for rows in (texts[start : start + batch] for start in range(0, len(texts), batch))
    )
    reviews = ReviewFilter(config, "test").reviews(batches)
    return {text: split for split, table in reviews for text in table["description"].to_pylist()}


@given(TEXTS, TEXTS, st.randoms())
def test_added_and_shuffled_records_move_no_other_record(texts: list[str], more: list[str], random: Random) -> None:
    before = {normalized(text): split for text, split in assign(texts).items()}
    mixed = [*texts, *more]
    random.shuffle(mixed)
    after = {normalized(text): split for text, split in assign(mixed, batch=7).items()}
    assert before == {text: after[text] for text in before}


@given(TEXTS)
def test_each_description_is_kept_once(texts: list[str]) -> None:
    kept = assign(texts)
    distinct: dict[str, str] = {}
    for text in texts:
        if normalized(text):
            distinct.setdefault(normalized(text), text)
    # the first in the file's order is kept, ignoring case and white space
    assert sorted(kept) == sorted(distinct.values())


def test_duplicates_are_found_across_runs_in_memory_and_in_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hash_set, "BLOCK", 64)
    random, seen = np.random.default_rng(5), set[int]()
    hashes = hash_set.HashSet(tmp_path)
    for size in (0, 1, 40, 40, 100, 3, 500, 0, 37, 1000):
        batch = random.integers(0, 2000, size).astype(np.uint64) << np.uint64(50)
        first = [value not in seen and not seen.add(value) for value in batch.tolist()]  # type: ignore[func-returns-value]
        assert hashes.add(batch).tolist() == first
    # a run's file has no name, so that it is gone with the process
    assert not list(tmp_path.iterdir())


def test_a_description_of_an_earlier_part_is_a_duplicate(cache: Path, tmp_path: Path) -> None:
    for part, first in (("part-00.parquet", 0), ("part-01.parquet", 50), ("part-02.parquet", 0)):
        texts = [f"Plum number {number}" for number in range(first, first + 100)]
        table = pa.table({"country": ["US"] * 100, "province": ["Oregon"] * 100, "variety": ["Merlot"] * 100})
        pq.write_table(table.append_column("description", [texts]), tmp_path / part)
    report = load_reviews(DataConfig(path=str(tmp_path / "part-*.parquet"))).report
    assert (report.read, report.duplicates, report.kept) == (300, 150, 150)


@settings(max_examples=25)
@given(st.integers(0, LARGEST), st.floats(0, 0.5), st.floats(0, 0.49))
def test_splits_have_the_configured_fractions(seed: int, validation: float, test: float) -> None:
    config = DataConfig(split_seed=seed, validation_fraction=validation, test_fraction=test)
    splits = split_of(content_hashes(pa.array(map(str, range(4000))), seed), config)
    # five standard deviations of a fraction of 4,000 texts
    assert np.mean(splits == "validation") == pytest.approx(validation, abs=0.04)
    assert np.mean(splits == "test") == pytest.approx(test, abs=0.04)


def test_another_seed_holds_out_other_texts() -> None:
    texts = pa.array(map(str, range(1000)))
    first, second = (split_of(content_hashes(texts, seed), CONFIG) for seed in (1, 2))
    # independent splits are equal with probability 0.3² + 0.3² + 0.4²
    assert np.mean(first == second) == pytest.approx(0.34, abs=0.08)


def test_white_space_and_case_do_not_count() -> None:
    same = ["A b", " A b", "a b ", "a  B", "a\tb", "a\nb", "A\u3000B", "a\x1cb", "a\u00a0b", "a\x85b"]
    assert set(content_hashes(pa.array(same), 42).tolist()) == {*content_hashes(pa.array(["a b"]), 42).tolist()}
    assert content_hashes(pa.array(["", " ", "a b c", "ab c"]), 42).tolist() == [
        *2 * content_hashes(pa.array(["\t"]), 42).tolist(),
        *content_hashes(pa.array(["A  B C", "\nab C"]), 42).tolist(),
    ]


def test_splits_never_change_between_versions() -> None:
    """A later version must not test a model on reviews that it was trained on."""
    texts = pa.array(["Dry and crisp.", "Ripe  PLUM.", "Château"])
    assert content_hashes(texts, 42).tolist() == [11713255088875079019, 10038568615871044761, 11175078202085579869]
    assert list(split_of(np.array([0, 2**61, 2**63, 2**64 - 1], np.uint64), CONFIG)) == [
        "test",
        "test",
        "validation",
        "train",
    ]


@given(st.text("ab \n", min_size=1, max_size=30), st.integers(1, 12))
def test_a_cut_text_ends_with_a_whole_word_if_one_fits(text: str, limit: int) -> None:
    cut = shorten(text, limit)
    assert text.lstrip().startswith(cut)
    assert len(cut) <= limit
    words = text.split()
    assert words[: len(cut.split())] == cut.split() or (words and len(words[0]) > limit and cut == words[0][:limit])


@pytest.mark.skipif(not SHARED_DATA.exists(), reason="the real reviews are not there")
def test_real_reviews(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path)
    report = load_reviews(DataConfig(path=str(SHARED_DATA))).report
    assert (report.read, report.read - sum(report.dropped.values())) == (8000, 7997)
    assert report.kept == 7997 - report.duplicates
    assert report.duplicates == 35
    assert report.splits["test"] / report.kept == pytest.approx(0.05, abs=0.01)
