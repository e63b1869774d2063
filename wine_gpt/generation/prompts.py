"""What a tokenizer reads of a prompt, and how a text follows it, in the package and in the demo.

Imports transformers only, because publishing copies this file into the Space. The explorer has the same rules
(space/explorer/page/prompt.js).
"""

from transformers import PreTrainedTokenizerFast

LINE_BREAK = "\n"


def printed_prompt(tokenizer: PreTrainedTokenizerFast, prompt: str) -> str:
    """Return a prompt without the white space around it, but with final line breaks if the tokenizer keeps them.

    A token of a text begins with the white space before it, so a prompt must not end with white space.
    """
    text = prompt.rstrip()
    kept = str(tokenizer.decode(tokenizer.encode(prompt[len(text) :], add_special_tokens=False)))
    return text.lstrip() + LINE_BREAK * kept.count(LINE_BREAK)


def join(prompt: str, continuation: str) -> str:
    """Append a decoded continuation, whose tokens include their leading spaces, to a :func:`printed_prompt`."""
    if prompt.endswith(LINE_BREAK):
        continuation = continuation.removeprefix(" ")
    return (prompt + continuation).lstrip()
