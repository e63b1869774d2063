"""The formats of data files by their suffixes, and the parsers of those that are text."""

from wine_gpt.data.csv_format import parse_csv
from wine_gpt.data.json_format import parse_json, parse_json_lines
from wine_gpt.data.text_lines import parse_text_lines

LINES_SUFFIX = ".txt"
TEXT_FORMATS = {
    ".json": parse_json,
    ".jsonl": parse_json_lines,
    ".ndjson": parse_json_lines,
    **dict.fromkeys((".csv", ".tsv", ".tab"), parse_csv),
    LINES_SUFFIX: parse_text_lines,
}
TABLE_SUFFIXES = (*(suffix for suffix in TEXT_FORMATS if suffix != LINES_SUFFIX), ".parquet")
