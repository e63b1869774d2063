"""Hand over tokenized reviews from a child process that reads the data to the process that trains.

The child imports datasets, pandas and Arrow and holds the raw texts; the training process gets the tokenizer and
memory-maps the ids. See "Memory" in benchmarks/RESULTS.md.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerFast

from wine_gpt.config import PretrainConfig, TokenizerConfig
from wine_gpt.data.report import DataReport
from wine_gpt.data.tokenized import TokenizedReviews, TokenizedSplits, locate
from wine_gpt.errors import UserError
from wine_gpt.files import JsonObject
from wine_gpt.tokenizer.files import load_tokenizer
from wine_gpt.tokenizer.reading_process import ReadingProcess
from wine_gpt.tokenizer.schemes import kind_of, scheme_of, to_transformers

OnReport = Callable[[DataReport], None]


@dataclass(frozen=True)
class PreparedReviews:
    """What a training needs of its data.

    Attributes:
        report: the counts of records.
        fingerprint: that of :class:`wine_gpt.data.reviews.Reviews`.
        tokenizer: the config's tokenizer, or one that was trained on the training split.
        splits: the tokenized splits.
        words: the number of words of the training split, as the class's notebook counts them.
        poor_fit: see :func:`wine_gpt.tokenizer.encoding.describe_poor_fit`.
    """

    report: DataReport
    fingerprint: str
    tokenizer: PreTrainedTokenizerFast
    splits: TokenizedSplits
    words: int
    poor_fit: str

    def to_dict(self) -> JsonObject:
        """Return what :meth:`from_dict` reads in another process; the splits must be whole files of the cache."""
        return {
            "report": self.report.to_dict(),
            "fingerprint": self.fingerprint,
            "tokenizer": self.tokenizer.backend_tokenizer.to_str(),
            "splits": {name: locate(split).to_dict() for name, split in self.splits.items()},
            "words": self.words,
            "poor_fit": self.poor_fit,
        }

    @classmethod
    def from_dict(cls, content: JsonObject, config: PretrainConfig) -> Self:
        """Read what :meth:`to_dict` returned for a config."""
        return cls(
            DataReport.from_dict(content["report"]),
            content["fingerprint"],
            usable_tokenizer(config, lambda: to_transformers(Tokenizer.from_str(content["tokenizer"]))),
            {name: TokenizedReviews.from_dict(split) for name, split in content["splits"].items()},
            content["words"],
            content["poor_fit"],
        )


def usable_tokenizer(
    config: PretrainConfig, trained: Callable[[], PreTrainedTokenizerFast]
) -> PreTrainedTokenizerFast:
    """Return the config's tokenizer, or the trained one, with the length that fits the model."""
    path = config.tokenizer.path
    if path is None:
        tokenizer = trained()
    else:
        tokenizer = load_tokenizer(path)
        words, highest = len(tokenizer), max(tokenizer.get_vocab().values())
        if highest >= words:
            raise UserError(f"tokenizer: {path} has {words:,} words and the id {highest:,}: the ids must have no gaps")
        _require_settings(tokenizer, config)
    # a prompt that transformers truncates to this length leaves one position for a generated word
    tokenizer.model_max_length = config.model.block_size - 1
    return tokenizer


def _require_settings(tokenizer: PreTrainedTokenizerFast, config: PretrainConfig) -> None:
    """Check that a trained tokenizer is as the config says, because the config does not change it."""
    path, scheme, kind = config.tokenizer.path, scheme_of(tokenizer), kind_of(tokenizer)
    if scheme and scheme.line_breaks != config.data.line_breaks:
        then, now = (str(value).lower() for value in (scheme.line_breaks, config.data.line_breaks))
        raise UserError(
            f"tokenizer: {path} was trained with data.line_breaks {then}, which is {now} here: set it as there, or "
            "leave tokenizer.path out"
        )
    # the default may stay for any tokenizer
    if kind and config.tokenizer.kind not in (kind, TokenizerConfig.kind):
        raise UserError(
            f"tokenizer: {path} is of the kind {kind}, and tokenizer.kind is {config.tokenizer.kind}: leave one of "
            "them out"
        )


def prepared_by(reading: ReadingProcess, config: PretrainConfig, on_report: OnReport) -> PreparedReviews:
    """Wait for a child process that prepares the reviews of a config.

    Args:
        reading: the child process, which was started for the config.
        config: see :func:`wine_gpt.tokenizer.prepare.prepare`.
        on_report: as in that function.

    Raises:
        UserError: as that function, and if the child process is killed.
        MemoryError: if the child process has too little memory.
    """
    answer = reading.answer()
    if "report" in answer:
        on_report(DataReport.from_dict(answer["report"]))
    if "error" in answer:
        raise UserError(answer["error"])
    if "out_of_memory" in answer:
        raise MemoryError(answer["out_of_memory"])
    return PreparedReviews.from_dict(answer, config)
