"""Print the training reviews of a run that are most like a text.

    wine-gpt similar runs/sample --text "A perfumed nose of rhubarb and forest floor sets the scene." -k 5

The first call embeds all training reviews, and writes RUN/similarity: the embeddings, and a model that
SentenceTransformer("RUN/similarity") of sentence-transformers loads. Descriptions are compared, without their headers.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from wine_gpt.cli import Parser, exits_cleanly, number
from wine_gpt.config import ReviewsConfig


@exits_cleanly
def main(arguments: Sequence[str] | None = None) -> None:
    """Load or make the index, search, and print the reviews, the most similar first."""
    options = read_arguments(arguments)
    # imported after the command line is checked, because importing torch takes seconds
    from wine_gpt.tasks.similarity import find_similar

    for found in find_similar(options.run, options.text, options.k, ReviewsConfig(options.path, options.encoding)):
        print(f"{found.similarity:.2f}  {found.text}")


def read_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Parse the command line."""
    parser = Parser("similar", __doc__)
    parser.add_argument(
        "run", metavar="RUN", type=Path, help="folder of a finished run, whose training reviews are searched"
    )
    parser.add_argument("--text", required=True, help="a description; the header of a whole review is left out")
    parser.add_argument("-k", type=number(int, 1, 10**6), default=5, help="how many reviews (default: 5)")
    parser.add_argument(
        "--data.path", dest="path", metavar="FILE", help="where the run's reviews are, if they were moved"
    )
    parser.add_argument("--data.encoding", dest="encoding", help="encoding of that file (default: the run's)")
    return parser.parse_args(arguments)
