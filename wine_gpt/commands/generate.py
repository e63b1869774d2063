"""Generate a review with a trained model, word by word, and show how each word was chosen.

wine-gpt generate runs/sample --prompt "wine review : germany" --temperature 0.5
wine-gpt generate runs/sample --explain --html review.html
"""

import argparse
import os
import secrets
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wine_gpt.cli import Parser, exits_cleanly, number
from wine_gpt.commands.common import print_form_note
from wine_gpt.config import TEMPERATURES
from wine_gpt.errors import UserError
from wine_gpt.model_path import local_folder

if TYPE_CHECKING:
    from wine_gpt.generation.explain import Explanation


@exits_cleanly
def main(arguments: Sequence[str] | None = None) -> None:
    """Load the model, generate, and explain if --explain or --html is given."""
    options = read_arguments(arguments)
    folder = local_folder(options.model)
    # imported after the command line is checked, because importing torch takes seconds
    from wine_gpt.data.template import ReviewTemplate
    from wine_gpt.generation.explain import explain, require_attention
    from wine_gpt.generation.generate import ReviewStreamer, encode_prompts, generate_ids, negative_prompts
    from wine_gpt.generation.inference import load_on_device

    model, tokenizer = load_on_device(folder)
    template = ReviewTemplate.load(folder)
    if options.prompt is None:
        options.prompt = template.prefix if template else ""
    require_attention(model, options.layer, options.head)
    inputs = encode_prompts(model, tokenizer, [options.prompt])
    print_form_note(template, options.prompt)
    settings = sampling(options)
    ids = generate_ids(
        model,
        inputs,
        seed=options.seed,
        max_new_tokens=options.max_new_tokens,
        negative=negative_prompts(settings, inputs, tokenizer, [options.prompt], template),
        streamer=ReviewStreamer(tokenizer, options.prompt),
        **settings,
    )[0].tolist()
    if options.explain or options.html:
        temperature = 1.0 if options.greedy else options.temperature
        view = {"layer": options.layer, "head": options.head}
        length = inputs["input_ids"].shape[1]
        show(explain(model, tokenizer, ids, length, temperature=temperature, **view), options)


def show(explanation: "Explanation", options: argparse.Namespace) -> None:
    """Print the explanation for --explain, and write it as a page for --html."""
    from wine_gpt.generation.explain import to_html, to_terminal

    if options.explain:
        print(f"\n{to_terminal(explanation, color=wants_color())}")
    if options.html:
        shown = {
            "Model": options.model,
            "Prompt": options.prompt,
            "Sampling": "the likeliest word each time" if options.greedy else f"seed {options.seed}",
            "Probabilities": f"at temperature {explanation.temperature:g}",
            "Attention": explanation.view,
        }
        save_page(options.html, to_html(explanation, shown))


def read_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Parse the command line and check what does not need the model."""
    parser = Parser("generate", __doc__)
    parser.add_argument("model", metavar="DIR", help="folder of a run, or a model's id on the Hub")
    parser.add_argument(
        "--prompt", help='what the review begins with (default: the prefix of the model\'s reviews); may be ""'
    )
    decoding = parser.add_mutually_exclusive_group()
    decoding.add_argument(
        "--temperature",
        type=number(float, *TEMPERATURES, "; --greedy takes the likeliest word each time"),
        help="below 1 for likelier words, above 1 for more varied ones (default: the model's own)",
    )
    decoding.add_argument("--greedy", action="store_true", help="take the most likely word each time")
    parser.add_argument(
        "--top_p",
        type=number(float, 0.01, 1),
        help="sample from the likeliest words whose probabilities add up to this (nucleus sampling)",
    )
    parser.add_argument(
        "--guidance_scale",
        type=number(float, 1, 10),
        help="above 1 to follow the prompt's country, province and variety more closely, as 2 with --temperature 1",
    )
    parser.add_argument("--max_new_tokens", type=number(int, 1, 10**6), help="largest number of generated tokens")
    parser.add_argument(
        "--seed",
        type=number(int, 0, 2**32 - 1),
        default=secrets.randbits(32),
        help="seed of the sampling (default: a random one)",
    )
    parser.add_argument("--explain", action="store_true", help="show the attention and the likeliest words")
    parser.add_argument("--layer", type=int, help="layer of the attention shown, from 0 (default: the mean over all)")
    parser.add_argument("--head", type=int, help="head of the attention shown, from 0 (default: the mean over all)")
    parser.add_argument("--html", type=Path, metavar="FILE", help="write the explanation as an HTML page")
    options = parser.parse_args(arguments)
    if options.greedy and options.top_p is not None:
        parser.error("argument --top_p: not allowed with argument --greedy")
    for name in ("layer", "head"):
        if getattr(options, name) is not None and not (options.explain or options.html):
            parser.error(f"argument --{name}: add --explain or --html, which show the attention")
    if options.html and (os.path.isdir(options.html) or not os.access(options.html.parent, os.W_OK | os.X_OK)):
        parser.error(f"argument --html: can't write {options.html}: name a file in a writable folder")
    return options


def sampling(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the fields of the generation config that the command line sets."""
    names = ("temperature", "top_p", "guidance_scale")
    chosen = {name: value for name in names if (value := getattr(arguments, name)) is not None}
    return {"do_sample": False, **chosen} if arguments.greedy else chosen


def wants_color() -> bool:
    """Return whether stdout is a terminal whose user allows color (no-color.org)."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def save_page(path: Path, page: str) -> None:
    """Write the page atomically."""
    from wine_gpt.files import write_atomically

    try:
        write_atomically(path, page)
    except OSError as error:
        raise UserError(f"--html: can't write {path}: {error.strerror}") from error
    print(f"\nsaved: {path}")
