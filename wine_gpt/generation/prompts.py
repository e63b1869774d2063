"""What a tokenizer reads of a prompt, and how a text follows it, in the package and in the demo.

Imports transformers only, because publishing copies this file into the Space. The explorer has the same rules
(space/explorer/page/prompt.js).
"""

from collections.abc import Sequence
from dataclasses import dataclass

from transformers import PreTrainedTokenizerFast

LINE_BREAK = "\n"
# of characters, the end excluded
Spans = Sequence[tuple[int, int]]


@dataclass(frozen=True)
class TokenizedPrompt:
    """A prompt as a tokenizer reads it.

    Attributes:
        text: the :func:`printed_prompt`.
        ids: [BOS] and the ids of the prompt's tokens; without [BOS] if the tokenizer has none.
        offsets: where each token begins and ends in the text, (0, 0) for [BOS].
    """

    text: str
    ids: list[int]
    offsets: Spans

    def hide(self, spans: Spans, unknown: int) -> list[int]:
        """Return the ids with ``unknown``, the id of [UNK], for each token that ends in one of the spans."""
        return [
            unknown if any(first < end <= last for first, last in spans) else index
            for index, (_, end) in zip(self.ids, self.offsets, strict=True)
        ]


def tokenize_prompts(tokenizer: PreTrainedTokenizerFast, prompts: Sequence[str]) -> list[TokenizedPrompt]:
    """Tokenize prompts; each begins with [BOS], as the texts of training do, whether the tokenizer adds it or not."""
    texts = [printed_prompt(tokenizer, prompt) for prompt in prompts]
    encoded = tokenizer(texts, return_offsets_mapping=True, split_special_tokens=True, verbose=False)
    bos = [] if tokenizer.bos_token_id is None else [tokenizer.bos_token_id]
    tokenized = []
    for text, ids, offsets in zip(texts, encoded["input_ids"], encoded["offset_mapping"], strict=True):
        missing = [] if ids[: len(bos)] == bos else bos
        tokenized.append(TokenizedPrompt(text, [*missing, *ids], [*((0, 0) for _ in missing), *offsets]))
    return tokenized


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
