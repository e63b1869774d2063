"""Publish a finished run on the Hugging Face Hub: model, fine-tuned models and demo, each in one commit.

python scripts/publish.py runs/base --repo org/wine-gpt --dry_run
python scripts/publish.py runs/base --repo org/wine-gpt --adapters runs/varieties --space org/wine-gpt-demo

The token is that of hf auth login, or HF_TOKEN's.
"""

import argparse
import shlex
import sys
from pathlib import Path

from wine_gpt.cli import Parser, exits_cleanly


@exits_cleanly
def main() -> None:
    """Publish, or only show what would be."""
    arguments = vars(read_arguments(sys.argv[1:]))
    only_stage = arguments.pop("dry_run")
    from wine_gpt.publishing.hub import HubError
    from wine_gpt.publishing.publish import dry_run, publish
    from wine_gpt.publishing.staging import Publication

    publication = Publication(**arguments)
    if only_stage:
        dry_run(publication, publication.run / "publish")
        return
    try:
        publish(publication)
    except HubError as error:
        raise HubError(f"{error}; to go on: python {shlex.join(sys.argv)}") from error


def read_arguments(arguments: list[str]) -> argparse.Namespace:
    """Parse the command line."""
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False)
    parser.add_argument("run", metavar="RUN", type=Path, help="folder of a finished run")
    parser.add_argument("--repo", required=True, metavar="ORG/NAME", help="the model's repository")
    parser.add_argument("--adapters", type=Path, metavar="DIR", help="what scripts/finetune.py wrote: ORG/NAME-VALUE")
    parser.add_argument("--space", metavar="ORG/NAME", help="the demo's repository")
    parser.add_argument("--private", action="store_true", help="make repositories that are new private")
    parser.add_argument("--revision", default="main", metavar="BRANCH", help="of the model repositories (%(default)s)")
    parser.add_argument("--create_pr", action="store_true", help="open pull requests instead of writing to the branch")
    parser.add_argument("--collection", metavar="TITLE", help="group all of it in this collection")
    parser.add_argument("--license", metavar="ID", help="of a model trained on an own corpus, as the Hub names it")
    parser.add_argument("--onnx", action="store_true", help="add the model for onnxruntime and transformers.js")
    parser.add_argument("--dry_run", action="store_true", help="write all files to RUN/publish and upload nothing")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
