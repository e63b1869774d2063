"""Join the class's words with natural spacing, by a decoder that any tool runs.

Each word has a leading space unless a rule removes it. The rules depend on the word and the text before it, never on
later words, so that a decoded text does not change when more words follow and a decoded continuation can be appended
to its prompt.
"""

import re

from tokenizers import Regex, decoders

from wine_gpt.data.template import ReviewTemplate
from wine_gpt.tokenizer.words import class_words

# private-use characters that mark an opening quote and a colon of running text while spaces are removed
_OPENING_QUOTE, _TEXT_COLON = "\ue000", "\ue001"
# an apostrophe after one of these words opens the next word ('08, 'em); after any other it ends the word (wine's)
_BEFORE_OPENING_APOSTROPHE = (
    *("the", "this", "these", "those", "their", "and", "or", "like", "than", "as", "is", "are", "was"),
    *("of", "in", "an", "to", "for", "from", "with", "by", "on", "at", "called", "named", "dubbed"),
)
# the end of a whole word: a space, or the end of the text decoded so far
_WORD_END = r"(?: |\z)"


def natural_spacing(template: ReviewTemplate, line_breaks: bool = False) -> decoders.Decoder:
    """Return a decoder that joins words with natural spacing and never changes earlier text when words follow.

    First it marks what depends on all earlier text: every other double quote opens a quotation, and a colon after the
    header belongs to the running text. If a text, such as a continuation, does not begin with the prefix, its header
    ends at the first of ``. , ; ! ?``. Then one regular expression removes spaces in a single pass, so that no rule
    depends on what another rule removed.

    The patterns use only features that JavaScript's regular expressions have, for transformers.js and the explorer.
    """
    breaks = [r" (?=\n)|(?<=\n) "] if line_breaks else []
    rules = [
        *breaks,
        rf" (?=[.,;!?)\]}}%\"”’»{_TEXT_COLON}])",
        rf"(?<=[(\[{{$#{_OPENING_QUOTE}]) ",
        # full-bodied, and/or, 5+; light- to medium-bodied
        rf" (?=[-/])|(?<=/) |(?<=-) (?!(?<= light - | medium - )to{_WORD_END})|(?<=[0-9]) (?=\+)",
        # wine's, Nero d'Avola; the growers' wine; the '08
        "".join(f"(?<! {word})" for word in _BEFORE_OPENING_APOSTROPHE) + " (?=')",
        rf"(?<=') (?=(?:s|t|re|ve|ll|d|m|em){_WORD_END})|(?<=[^s ] ') ",
        "|".join(f"(?<= {word} ') " for word in _BEFORE_OPENING_APOSTROPHE),
        # 15,000; 13.5; U.S.
        rf"(?<=[0-9] ,) (?=[0-9]{{3}}{_WORD_END})",
        rf"(?<=[0-9] \.) (?=[0-9])|(?<=[ —][a-z] \.) (?=[a-z]{_WORD_END})",
    ]
    return decoders.Sequence(
        [
            decoders.Replace(Regex(r"\A"), " "),
            decoders.Fuse(),
            decoders.Replace(Regex(_text_colons(template, line_breaks)), f" {_TEXT_COLON}"),
            # after an even number of double quotes
            decoders.Replace(Regex(r' "(?<=\A(?:[^"]*"[^"]*")*[^"]*")'), f" {_OPENING_QUOTE}"),
            decoders.Replace(Regex("|".join(rules)), ""),
            decoders.Replace(_OPENING_QUOTE, '"'),
            decoders.Replace(_TEXT_COLON, ":"),
        ]
    )


def _text_colons(template: ReviewTemplate, line_breaks: bool) -> str:
    """Return a pattern that matches each colon after the header, with its leading space."""
    prefix, any_text = template.prefix, r"[\s\S]*" if line_breaks else ".*"
    behind_header = rf"(?<=\A(?:[^:]*:){{{template.colons + 1},}})"
    if prefix:
        spaced = " ".join(["", *class_words(prefix), ":"])
        behind_header += rf"|(?<!\A{re.escape(spaced)}{any_text})(?<=[.,;!?]{any_text})"
    return f" :(?:{behind_header})"
