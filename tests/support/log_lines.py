"""A command that logs, as training does, until its output is closed."""

import logging

from wine_gpt.cli import exits_cleanly


@exits_cleanly
def main() -> None:
    """Log many lines."""
    for step in range(10_000):
        logging.getLogger("wine_gpt.training").info(f"step {step}")


if __name__ == "__main__":
    main()
