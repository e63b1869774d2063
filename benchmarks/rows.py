"""Keep what is measured as lines of JSON, so that a benchmark that was interrupted repeats no finished run."""

import dataclasses
import json
from pathlib import Path
from typing import Any, TypeVar

RowT = TypeVar("RowT")


def read(file: Path, kind: type[RowT]) -> list[RowT]:
    """Return the finished rows, which are of a dataclass; none if there is no file."""
    lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
    return [kind(**json.loads(line)) for line in lines]


def append(file: Path, row: Any) -> None:  # noqa: ANN401 - of any dataclass
    """Add a finished row."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("a", encoding="utf-8") as lines:
        lines.write(json.dumps(dataclasses.asdict(row)) + "\n")
