"""Write synthetic wine reviews in Kaggle's form.

    python -m tools.sample_grammar [--count N] [--seed S] [--output FILE]

Without options it writes the bundled sample, bit for bit, to the current folder.
"""

import argparse
import contextlib
import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TextIO

from tools.sample_grammar.grammar import COUNT, SEED, Record, generate_records
from wine_gpt.cli import exits_cleanly
from wine_gpt.errors import UserError

# the name of the bundled file
SAMPLE_NAME = "winemag-sample.json"


@exits_cleanly
def main() -> None:
    """Read the command line and write the file."""
    parser = argparse.ArgumentParser(
        prog="python -m tools.sample_grammar", description="Write synthetic wine reviews."
    )
    parser.add_argument("--count", type=int, default=COUNT, help="the number of records (default: %(default)s)")
    parser.add_argument(
        "--seed", type=int, default=SEED, help="another seed gives other records (default: %(default)s)"
    )
    parser.add_argument(
        "--output",
        type=Path,
        default=Path(SAMPLE_NAME),
        help="a JSON array, or JSON Lines if the name ends with .jsonl (default: %(default)s)",
    )
    options = parser.parse_args()
    if options.count < 1:
        raise UserError(f"--count is {options.count}: must be at least 1")
    with _opened_atomically(options.output) as file:
        _write(generate_records(options.count, options.seed), file, as_lines=options.output.suffix == ".jsonl")
    print(f"{options.output}: {options.count:,} synthetic records")


def _write(records: Iterable[Record], file: TextIO, as_lines: bool) -> None:
    """Write the records one by one, so that memory does not grow with their number."""
    opening, between, closing = ("", "\n", "\n") if as_lines else ("[", ", ", "]")
    separator = opening
    for record in records:
        file.write(separator)
        file.write(json.dumps(record))
        separator = between
    file.write(closing)


@contextlib.contextmanager
def _opened_atomically(path: Path) -> Iterator[TextIO]:
    """Open a temporary file that becomes ``path`` when it is complete.

    Raises:
        UserError: if it can't be written; no temporary file is left.
    """
    temporary = path.parent / f".{path.name}.tmp-{os.getpid()}"
    try:
        with temporary.open("w", encoding="ascii", newline="\n") as file:
            yield file
        temporary.replace(path)
    except OSError as error:
        raise UserError(f"--output: can't write {path}: {error.strerror}; name another file") from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


if __name__ == "__main__":
    main()
