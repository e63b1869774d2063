"""Run a command: ``wine-gpt NAME …`` or ``python -m wine_gpt NAME …``."""

import difflib
import importlib
import sys

from wine_gpt import __version__
from wine_gpt.cli import exits_cleanly
from wine_gpt.commands.completion import completion
from wine_gpt.errors import UserError

COMMANDS = {
    "quickstart": "train on the bundled synthetic sample and generate reviews",
    "pretrain": "pretrain a GPT-2 from scratch on reviews",
    "distill": "distill an ensemble of pretrained models into one model",
    "generate": "generate a review and explain each word",
    "explore": "look inside a model in the browser, on this machine",
    "ask": "answer a multiple-choice question about a review",
    "similar": "find the training reviews that are most like a text",
    "score": "score a model on reviews that it never saw",
    "refit": "train a tested run's model again on all its reviews, for publishing",
    "finetune": "fine-tune a pretrained model on one subset, such as a grape variety",
    "publish": "publish model, fine-tuned models and demo on the Hugging Face Hub",
    "train-tokenizer": "train the tokenizer alone, for several runs to use",
}
HELP = "\n".join(
    [
        "usage: wine-gpt COMMAND ...",
        "",
        "Train a small GPT-2 on wine reviews, from raw records to a model on the Hugging Face Hub.",
        "",
        *(f"  {name:<17}{purpose}" for name, purpose in COMMANDS.items()),
        "",
        "wine-gpt COMMAND --help shows the options of a command; wine-gpt --version shows the version;",
        "wine-gpt --completion prints the completion for bash and zsh.",
    ]
)


@exits_cleanly
def main() -> None:
    """Run the command that the first argument names."""
    name, *arguments = sys.argv[1:] or ["--help"]
    if name in ("-h", "--help", "help"):
        print(HELP)
    elif name == "--version":
        print(f"wine_gpt {__version__}")
    elif name == "--completion":
        print(completion(COMMANDS))
    elif name in COMMANDS:
        importlib.import_module(f"wine_gpt.commands.{name.replace('-', '_')}").main(arguments)
    else:
        nearest = difflib.get_close_matches(name, COMMANDS, n=1)
        hint = f"did you mean {nearest[0]}?" if nearest else f"known are {', '.join(COMMANDS)}"
        raise UserError(f"unknown command {name}; {hint}")


if __name__ == "__main__":
    main()
