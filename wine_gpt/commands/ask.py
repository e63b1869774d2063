"""Ask a multiple-choice question about a review, which a pretrained model answers by the likelihood of each choice.

    wine-gpt ask runs/sample --review "wine review : us : oregon : pinot noir : Notes of rhubarb." --question food
    wine-gpt ask runs/sample --review "wine review : …" --question "flavors of" --choices "red plum,lime,lychee"

The model only continues reviews, so write a question as the beginning of a sentence that may follow the review, and
each choice as a way to continue it. The questions food, fruit and ready have a text and choices of their own.
"""

import argparse
from collections.abc import Sequence

from wine_gpt.cli import Parser, exits_cleanly
from wine_gpt.commands.common import print_form_note
from wine_gpt.model_path import local_folder


@exits_cleanly
def main(arguments: Sequence[str] | None = None) -> None:
    """Load the model, score the choices, and print them, the likeliest first."""
    options = read_arguments(arguments)
    folder = local_folder(options.model)
    # imported after the command line is checked, because importing torch takes seconds
    from wine_gpt.data.template import ReviewTemplate
    from wine_gpt.generation.inference import load_on_device
    from wine_gpt.tasks.questions import answer_question, read_question

    question = read_question(options.question, options.choices)
    model, tokenizer = load_on_device(folder)
    template = ReviewTemplate.load(folder)
    prefix = template.prefix if template else ""
    answers = answer_question(model, tokenizer, options.review, question, prefix=prefix)
    print_form_note(template, options.review)
    width = max(len(answer.choice) for answer in answers)
    print(f"{question.text} …")
    for answer in answers:
        print(
            f"  {answer.choice:<{width}}  {answer.probability:4.0%} of these choices, "
            f"ln p {answer.log_likelihood:6.2f}, without the review {answer.without_review:6.2f}"
        )


def read_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Parse the command line."""
    parser = Parser("ask", __doc__)
    parser.add_argument("model", metavar="DIR", help="folder of a run, or a model's id on the Hub")
    parser.add_argument("--review", required=True, metavar="TEXT", help="a review with its header, or its beginning")
    parser.add_argument(
        "--question", required=True, metavar="TEXT", help="food, fruit, ready, or the beginning of a sentence"
    )
    parser.add_argument(
        "--choices", type=lambda text: text.split(","), metavar="A,B,C", help="ways to continue the question"
    )
    return parser.parse_args(arguments)
