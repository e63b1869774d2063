"""Subsets: values as people type them, and slugs that are safe names of folders."""

import re
from pathlib import Path

import pytest
from datasets import Dataset, DatasetDict
from hypothesis import given
from hypothesis import strategies as st
from support.refused import refused

from wine_gpt.data.subsets import Subset, choose_subsets, find_subsets

NAMES = st.lists(st.text("aAé. /-_ßſΣ\u0301漢", max_size=6), max_size=20)


def splits(train: list[str | None], validation: list[str | None] = (), test: list[str | None] = ()) -> DatasetDict:  # type: ignore[assignment]
    values = {"train": train, "validation": validation, "test": test}
    return DatasetDict({name: Dataset.from_dict({"variety": [*column]}) for name, column in values.items()})


def choose(subsets: list[Subset], requested: str, minimum: int = 1) -> str:
    """Return the value of the one subset that is chosen."""
    (found,), _ = choose_subsets(subsets, "variety", requested, minimum)
    return found.value


@pytest.fixture(scope="module")
def grapes() -> list[Subset]:
    names = ["Pinot Noir", "Pinot Gris", "Rosé", "Grüner Veltliner", "Bordeaux-style Red Blend", "Rosé", "Gamay"]
    return find_subsets(splits(names, names, names), "variety")


@pytest.mark.parametrize(
    ("typed", "value"),
    [
        ("Pinot Noir", "Pinot Noir"),
        ("  pinot   NOIR ", "Pinot Noir"),
        ("rosé", "Rosé"),
        ("rose\u0301", "Rosé"),
        ("rose", "Rosé"),
        ("Gruner Veltliner", "Grüner Veltliner"),
        ("bordeaux-style red blend", "Bordeaux-style Red Blend"),
    ],
)
def test_a_value_is_found_as_people_type_it(grapes: list[Subset], typed: str, value: str) -> None:
    assert choose(grapes, typed) == value


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        ("pinot nor", "variety pinot nor: 0 reviews, minimum 1; did you mean Pinot Noir or Pinot Gris?"),
        ("gruner", "variety gruner: 0 reviews, minimum 1; did you mean Grüner Veltliner?"),
        ("../../x", "variety ../../x: 0 reviews, minimum 1"),
        ("no\nsuch\tgrape at all", "variety no such grape at all: 0 reviews, minimum 1"),
    ],
)
def test_an_unknown_value_suggests_the_nearest(grapes: list[Subset], typed: str, message: str) -> None:
    assert refused(choose, grapes, typed) == message


def test_too_few_reviews_are_counted() -> None:
    subsets = find_subsets(splits(["Lone", "Two", "Two"], ["Two"], ["Two"]), "variety")
    assert refused(choose, subsets, "lone", 4) == "variety Lone: 1 review, minimum 4"
    assert refused(choose, subsets, "two", 5) == "variety Two: 4 reviews, minimum 5"
    assert refused(choose, subsets, "lone", 1) == "variety Lone: no review in the validation or test split"
    message = refused(choose_subsets, subsets, "variety", "all", 5)
    assert "none has 5 reviews, some in each split: the largest, Two, has 4" in message


def test_all_are_those_with_enough_reviews_in_each_split() -> None:
    subsets = find_subsets(splits(["A", "A", "B", "B", "C"], ["A", "C"], ["A", "B", "C"]), "variety")
    chosen, left_out = choose_subsets(subsets, "variety", " ALL", 3)
    assert [subset.value for subset in chosen] == ["A", "C"]
    assert left_out == {"B": "no review in the validation split"}


def test_a_subset_has_its_reviews_of_each_split_and_no_others() -> None:
    values = {"train": ["a", "B", None, "A ", "b", " "], "validation": ["B", "A"], "test": [None, "C"]}
    subsets = {subset.value: subset for subset in find_subsets(splits(*values.values()), "variety")}
    assert {name: indices.tolist() for name, indices in subsets["B"].indices.items()} == {
        "train": [1, 4],
        "validation": [0],
        "test": [],
    }
    # the value is the commonest spelling
    assert subsets["A"].indices["train"].tolist() == [0, 3]
    assert subsets["C"].indices["test"].tolist() == [1]
    assert sum(subset.reviews for subset in subsets.values()) == 7


def test_a_numeric_column_has_subsets() -> None:
    parts = {name: Dataset.from_dict({"points": [88, 90, 88]}) for name in ("train", "validation", "test")}
    assert choose(find_subsets(DatasetDict(parts), "points"), "88") == "88"


def test_an_unknown_column_suggests_the_nearest(grapes: list[Subset]) -> None:
    message = refused(find_subsets, splits(["A"]), "varietty")
    assert "field is 'varietty': the reviews have no such column; did you mean variety?" in message


@given(NAMES)
def test_slugs_are_unique_and_safe_names_of_folders(names: list[str]) -> None:
    subsets = find_subsets(splits([*names, "x"]), "variety")
    slugs = [subset.slug for subset in subsets]
    assert len({*slugs}) == len(slugs)
    assert all(re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", slug) and len(slug) < 60 for slug in slugs)
    assert all(Path("output", slug).resolve().parent == Path("output").resolve() for slug in slugs)


def test_values_with_the_same_slug_get_different_ones() -> None:
    names = ["Rosé", "Rose", "Pinot Noir", "漢", "../../x"]
    subsets = find_subsets(splits(names, names, names), "variety")
    slugs = {subset.value: subset.slug for subset in subsets}
    assert slugs["Pinot Noir"] == "pinot-noir"
    assert slugs["../../x"] == "x"
    assert slugs["Rosé"].startswith("rose-")
    assert slugs["Rose"].startswith("rose-")
    assert slugs["Rosé"] != slugs["Rose"]
    # each value is found by its own accents
    assert choose(subsets, "rose") == "Rose"
    assert choose(subsets, "ROSÉ") == "Rosé"
    assert refused(choose, subsets, "rosè") == "variety rosè: which of Rose, Rosé?"
