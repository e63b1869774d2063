"""Texts of every kind, with what wine_gpt's tokenizers make of them, for the explorer's tokenizer."""

import itertools
import json
import random
from pathlib import Path

from transformers import GPT2TokenizerFast, PreTrainedTokenizerFast

from wine_gpt.data.template import CLASS_TEMPLATE, ReviewTemplate
from wine_gpt.generation.prompts import printed_prompt
from wine_gpt.tokenizer import save_tokenizer, train_tokenizer

# fmt: off
WORDS = (
    "wine", "review", "Wine", "italy", "it", "s", "t", "re", "growers", "the", "The", "to", "light", "medium", "u",
    "bodied", "S", "15", "000", "13", "5", "08", "em", "d", "avola", "called", "Château", "Cafe\u0301", "ÉTÉ", "ΟΔΟΣ",
    "İzmir", "ß", "ﬁ", "日本", "🍷", "e\u0301\u0323", "\u212b", "a\u00a0b", "[EOS]", "[UNK]", "[bos]", "—", "”", "’",
)
MARKS = (*"!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~", "\n", "\r\n", "\r", "\t", "\x0b", "\x0c", "\u2028", "\x85", "  ")
RECIPE = ReviewTemplate(prefix=r"a (new) \zest recipe : v2.0", fields=("cuisine",), text_field="method")
NO_PREFIX = ReviewTemplate(prefix="", fields=("country", "variety"), text_field="text")
GPT2 = "gpt2"
PROMPTS = (
    "", " ", "\n", "wine review : italy ", "wine\n", " wine \r\n\n", "\u2028wine\x85", "\ufeffwine\ufeff",
    "\x1f wine\x1c", "wine [EOS] wine", "[UNK]", "wine <|endoftext|> wine",
)
# fmt: on
# whether line breaks are kept, and the kind, for each form of text
TOKENIZERS = {
    "class": (CLASS_TEMPLATE, False, "words"),
    "recipe": (RECIPE, True, "words"),
    "no_prefix": (NO_PREFIX, False, "words"),
    "spaced_characters": (CLASS_TEMPLATE, False, "characters"),
    "with_breaks_characters": (CLASS_TEMPLATE, True, "characters"),
    "spaced_bpe": (CLASS_TEMPLATE, False, "bpe"),
    "with_breaks_bpe": (CLASS_TEMPLATE, True, "bpe"),
    "gpt2_bpe": (NO_PREFIX, False, GPT2),
}


def write_texts(folder: Path, name: str) -> None:
    """Save a tokenizer, and ``texts.json`` with ids and decoded texts."""
    template, line_breaks, kind = TOKENIZERS[name]
    chance = random.Random(3)
    header = " : ".join([*([template.prefix] if template.prefix else []), *template.fields])
    texts = [_text(chance, header) for _ in range(400)]
    tokenizer: PreTrainedTokenizerFast
    if kind == GPT2:
        tokenizer = GPT2TokenizerFast().train_new_from_iterator(texts[::2], vocab_size=500, show_progress=False)
        tokenizer.save_pretrained(folder)
    else:
        tokenizer = train_tokenizer(texts[::2], template=template, line_breaks=line_breaks, kind=kind)
        save_tokenizer(tokenizer, folder)
    ids = [chance.choices(range(len(tokenizer)), k=chance.randrange(30)) for _ in range(300)]
    # the package reads special tokens in texts as words, and transformers does not
    split = {"split_special_tokens": kind != GPT2}
    encoded = tokenizer(texts, **split)["input_ids"]
    prompts = tokenizer([printed_prompt(tokenizer, prompt) for prompt in PROMPTS], **split)["input_ids"]
    found = {
        "encoded": [{"text": text, "ids": row} for text, row in zip(texts, encoded, strict=True)],
        "prompts": [{"text": text, "ids": row} for text, row in zip(PROMPTS, prompts, strict=True)],
        "decoded": [{"ids": row, "text": tokenizer.decode(row, skip_special_tokens=True)} for row in (*encoded, *ids)],
        "pieces": [{"ids": row, "pieces": _pieces(tokenizer, row)} for row in (*encoded[:40], *ids[:40])],
    }
    (folder / "texts.json").write_text(json.dumps(found))


def _text(chance: random.Random, header: str) -> str:
    start = header + " : " if chance.random() < 0.5 else ""
    parts = chance.choices((*WORDS, *WORDS, *MARKS), k=chance.randrange(25))
    return start + "".join(part + chance.choice((" ", " ", "")) for part in parts)


def _pieces(tokenizer: PreTrainedTokenizerFast, ids: list[int]) -> list[str]:
    """Return what each id adds to the decoded text; the last byte of a character adds the whole."""
    decoded = (tokenizer.decode(ids[: end + 1], skip_special_tokens=True) for end in range(len(ids)))
    texts = [text.rstrip("\ufffd") for text in decoded]
    lengths = [0, *itertools.accumulate(map(len, texts), max)]
    return [text[length:] for text, length in zip(texts, lengths, strict=False)]
