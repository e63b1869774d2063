"""Write a review with a trained model, as it is generated, and show how each word was chosen.

python scripts/generate.py runs/sample --prompt "wine review : germany" --temperature 0.5
python scripts/generate.py runs/sample --explain --html review.html
"""

import argparse
import os
import secrets
import sys
from pathlib import Path
from typing import Any

from wine_gpt.cli import Parser, exits_cleanly, number
from wine_gpt.errors import UserError


@exits_cleanly
def main() -> None:
    """Load, generate, and explain if asked to."""
    arguments = read_arguments(sys.argv[1:])
    from wine_gpt.data.template import ReviewTemplate
    from wine_gpt.generation.explain import explain, require_attention, to_html, to_terminal
    from wine_gpt.generation.generate import ReviewStreamer, encode_prompts, generate_ids
    from wine_gpt.modeling.pretrained import load_model
    from wine_gpt.tokenizer import load_tokenizer

    model, tokenizer = load_model(arguments.model), load_tokenizer(arguments.model)
    if arguments.prompt is None:
        template = ReviewTemplate.load(arguments.model)
        arguments.prompt = template.prefix if template else ""
    require_attention(model, arguments.layer, arguments.head)
    inputs = encode_prompts(model, tokenizer, [arguments.prompt])
    ids = generate_ids(
        model,
        inputs,
        seed=arguments.seed,
        max_new_tokens=arguments.max_new_tokens,
        streamer=ReviewStreamer(tokenizer, arguments.prompt),
        **sampling(arguments),
    )[0].tolist()
    if not (arguments.explain or arguments.html):
        return
    explanation = explain(
        model,
        tokenizer,
        ids,
        inputs["input_ids"].shape[1],
        temperature=arguments.temperature or (not arguments.greedy and model.generation_config.temperature) or 1.0,
        layer=arguments.layer,
        head=arguments.head,
    )
    if arguments.explain:
        print(f"\n{to_terminal(explanation, color=wants_color())}")
    if arguments.html:
        shown = {
            "Model": arguments.model,
            "Prompt": arguments.prompt,
            "Sampling": "the likeliest word each time" if arguments.greedy else f"seed {arguments.seed}",
            "Probabilities": f"at temperature {explanation.temperature:g}",
            "Attention": explanation.view,
        }
        save_page(arguments.html, to_html(explanation, shown))


def read_arguments(arguments: list[str]) -> argparse.Namespace:
    """Parse and check what can be checked without the model."""
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False)
    parser.add_argument("model", metavar="DIR", help="folder of a run, or a model's id on the Hub")
    parser.add_argument(
        "--prompt", help='what the text begins with (default: the prefix of the model\'s texts); may be ""'
    )
    how = parser.add_mutually_exclusive_group()
    how.add_argument(
        "--temperature",
        type=number(float, 0.01, 100, "; --greedy takes the likeliest word each time"),
        help="below 1 safer, above 1 bolder (default: the model's own)",
    )
    how.add_argument("--greedy", action="store_true", help="take the likeliest word each time")
    parser.add_argument("--top_p", type=number(float, 0.01, 1), help="sample from the likeliest words of this share")
    parser.add_argument("--max_new_tokens", type=number(int, 1, 10**6), help="stop after so many words")
    parser.add_argument(
        "--seed",
        type=number(int, 0, 2**32 - 1),
        default=secrets.randbits(32),
        help="of the sampling (default: any)",
    )
    parser.add_argument("--explain", action="store_true", help="show for each word the attention and likeliest words")
    parser.add_argument("--layer", type=int, help="whose attention is shown, from 0 (default: the mean over all)")
    parser.add_argument("--head", type=int, help="whose attention is shown, from 0 (default: the mean over all)")
    parser.add_argument("--html", type=Path, metavar="FILE", help="write the explanation as a page")
    return parser.parse_args(arguments)


def sampling(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the generation settings that were given."""
    if arguments.greedy:
        return {"do_sample": False}
    given = {"temperature": arguments.temperature, "top_p": arguments.top_p}
    return {name: value for name, value in given.items() if value is not None}


def wants_color() -> bool:
    """Tell whether stdout is a terminal whose user wants colour (no-color.org)."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def save_page(path: Path, page: str) -> None:
    """Write the page, whole or not at all."""
    from wine_gpt.files import write_atomically

    try:
        if path.is_dir():
            raise IsADirectoryError(0, "it is a folder")
        write_atomically(path, page)
    except OSError as error:
        raise UserError(f"--html: can't write {path}: {error.strerror}") from error
    print(f"\nsaved: {path}")


if __name__ == "__main__":
    main()
