"""The examples of docs/data.md print what the page shows."""

import re
from pathlib import Path

import datasets
import pytest

from wine_gpt.config import DataConfig, PretrainConfig
from wine_gpt.config_io import parse_config
from wine_gpt.data.reviews import load_reviews
from wine_gpt.data.template import COMPOSED

PAGE = (Path(__file__).parents[1] / "docs" / "data.md").read_text(encoding="utf-8")


@pytest.fixture(autouse=True)
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_page_shows_the_report_of_the_sample() -> None:
    assert f"```text\n{load_reviews(DataConfig()).report}\n```" in PAGE


def test_the_pages_recipes_load(work: Path) -> None:
    files = dict(re.findall(r"`(recipes\.\w+)`:\n\n```\w+\n(.*?)```", PAGE, re.DOTALL))
    assert sorted(files) == ["recipes.jsonl", "recipes.yaml"]
    for name, text in files.items():
        (work / name).write_text(text, encoding="utf-8")
    reviews = load_reviews(parse_config(PretrainConfig, ["recipes.yaml"]).data)
    assert (reviews.report.kept, reviews.report.dropped) == (7, {"cuisine": 0, "dish": 0, "method": 1})
    rows = [row for split in reviews.splits.values() for row in split]
    assert list(rows[0]) == ["cuisine", "dish", "method", COMPOSED]
    (shown,) = re.findall(r"```text\n(recipe : .*)\n```", PAGE)
    assert shown in [row[COMPOSED] for row in rows]
