"""Make records and files in Kaggle's format, and load the files."""

import csv
import io
import json
from pathlib import Path
from typing import Any

from support.refused import refused
from wine_gpt.config import DataConfig
from wine_gpt.data.reviews import Reviews, load_reviews
from wine_gpt.data.template import COMPOSED

KAGGLE_JSON = "winemag-data-130k-v2.json"
COLUMNS = [
    "points",
    "title",
    "description",
    "taster_name",
    "taster_twitter_handle",
    "price",
    "designation",
    "variety",
    "region_1",
    "region_2",
    "province",
    "country",
    "winery",
]
# the columns of winemag-data_first150k.csv, in order
COLUMNS_150K = [
    "country",
    "description",
    "designation",
    "points",
    "price",
    "province",
    "region_1",
    "region_2",
    "variety",
    "winery",
]

Record = dict[str, Any]


def make_records(count: int) -> list[Record]:
    """Return records that differ; every third lacks what may be missing."""
    return [
        {
            "points": str(80 + number % 20),
            "title": f"Château {number}, “Réserve”",
            "description": f'Wine {number} is dry,\nwith 12.5% of "alcohol"; it\'s crème.',
            "taster_name": None if number % 3 else "A. B.",
            "taster_twitter_handle": None,
            "price": None if number % 3 else 10 + number / 2,
            "designation": None if number % 3 else "Cuvée",
            "variety": "Pinot Noir",
            "region_1": "Somewhere",
            "region_2": None,
            "province": "Oregon",
            "country": "US",
            "winery": "Château",
        }
        for number in range(count)
    ]


def json_text(records: list[Record]) -> str:
    """Return one JSON array, escaped as Kaggle's."""
    return json.dumps(records)


def lines_text(records: list[Record]) -> str:
    """Return JSON Lines, not escaped."""
    return "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records)


def csv_text(records: list[Record], columns: list[str] = COLUMNS, line_end: str = "\n") -> str:
    """Return CSV as Kaggle's, with an index column that has no name."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator=line_end)
    writer.writerow(["", *columns])
    writer.writerows([index, *(record[column] for column in columns)] for index, record in enumerate(records))
    return text.getvalue()


def write(path: Path, text: str, encoding: str = "utf-8") -> str:
    """Write a file and return its path as a setting."""
    path.write_bytes(text.encode(encoding))
    return str(path)


def rows_of(reviews: Reviews) -> list[Record]:
    """Return the rows of all splits in the order of their texts."""
    rows = [dict(row) for split in reviews.splits.values() for row in split]
    return sorted(rows, key=lambda row: row[COMPOSED])


def load(path: str | Path, **settings: object) -> list[Record]:
    """Return the rows that are loaded from a file, in the order of their texts."""
    return rows_of(load_reviews(DataConfig(path=str(path), **settings)))


def load_error(path: str | Path, **settings: object) -> str:
    """Return the error of a file that can't be loaded."""
    return refused(load_reviews, DataConfig(path=str(path), **settings))
