"""Publish a finished run on the Hugging Face Hub: model, fine-tuned models and demo, each in one commit.

    wine-gpt publish runs/base --repo org/wine-gpt --dry_run
    wine-gpt publish runs/base --repo org/wine-gpt --adapters runs/lora --space org/wine-gpt-demo

Log in with ``hf auth login`` first, or set HF_TOKEN.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from wine_gpt.cli import Parser, exits_cleanly
from wine_gpt.command_names import command_line
from wine_gpt.config import SPACE_HARDWARE, SPACE_SDKS


@exits_cleanly
def main(arguments: Sequence[str] | None = None) -> None:
    """Publish, or write and print what would be published."""
    options = vars(read_arguments(arguments))
    is_dry_run = options.pop("dry_run")
    # imported after the command line is checked, because importing torch takes seconds
    from wine_gpt.publishing.hub import HubError, RemoteMovedError
    from wine_gpt.publishing.publication import Publication
    from wine_gpt.publishing.publish import dry_run, publish

    publication = Publication(**options)
    if is_dry_run:
        dry_run(publication, publication.run / "publish")
        return
    try:
        result = publish(publication)
    except RemoteMovedError:
        raise
    except HubError as error:
        raise HubError(f"{error}; to resume: {command_line()}") from error
    if result.space_refused:
        raise HubError(result.space_refused)


def read_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Parse the command line."""
    parser = Parser("publish", __doc__)
    parser.add_argument("run", metavar="RUN", type=Path, help="folder of a finished run")
    parser.add_argument("--repo", required=True, metavar="ORG/NAME", help="the model's repository")
    parser.add_argument(
        "--adapters",
        type=Path,
        metavar="DIR",
        help="output_dir of finetune, such as runs/lora; adds ORG/NAME-VALUE",
    )
    parser.add_argument("--space", metavar="ORG/NAME", help="the demo's repository")
    parser.add_argument(
        "--space_sdk",
        choices=SPACE_SDKS,
        default="auto",
        help="the demo as a Gradio app, which needs a paid plan, or the explorer, a static page that is free "
        "(default: as the Space on the Hub is, or else as its owner's plan allows)",
    )
    parser.add_argument(
        "--space_hardware",
        choices=SPACE_HARDWARE,
        help="of a new Gradio Space: a CPU, which needs a paid plan, or ZeroGPU, which two Spaces of a personal "
        "account may have without one",
    )
    parser.add_argument("--private", action="store_true", help="create new repositories as private")
    parser.add_argument(
        "--revision", default="main", metavar="BRANCH", help="branch of the model repositories (default: %(default)s)"
    )
    parser.add_argument("--create_pr", action="store_true", help="open pull requests instead of writing to the branch")
    parser.add_argument("--collection", metavar="TITLE", help="add all repositories to this collection")
    parser.add_argument("--license", metavar="ID", help="id of the model's license, if trained on your own data")
    parser.add_argument("--license_name", metavar="NAME", help="name of a license that the Hub does not list")
    parser.add_argument("--license_link", metavar="URL", help="address of the text of that license")
    parser.add_argument("--language", metavar="ID", help="ISO 639 code of your own data's language, such as es")
    parser.add_argument("--dataset_name", metavar="TEXT", help='your own data in words, such as "Spanish recipes"')
    parser.add_argument(
        "--onnx",
        action=argparse.BooleanOptionalAction,
        help="add an ONNX export, for onnxruntime and transformers.js (default: keep the one on the Hub)",
    )
    parser.add_argument(
        "--index",
        action=argparse.BooleanOptionalAction,
        help="add the index with which the demo finds copied spans; it shows whoever knows 12 words in a row whether "
        "they were trained on (default: for the sample and Kaggle's reviews only)",
    )
    parser.add_argument(
        "--epochs",
        action=argparse.BooleanOptionalAction,
        help="add the weights of each epoch that training.keep_epochs kept, for the explorer (default: keep those on "
        "the Hub)",
    )
    parser.add_argument("--dry_run", action="store_true", help="write all files to RUN/publish and upload nothing")
    return parser.parse_args(arguments)
