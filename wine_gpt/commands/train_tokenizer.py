"""Train the tokenizer on the train split and save it, so that several runs can use the same one.

wine-gpt train-tokenizer --data.path FILE --output_dir runs/tokenizer
wine-gpt train-tokenizer base.yaml --data.path FILE      # reads the sections data and tokenizer
wine-gpt pretrain base.yaml --data.path FILE --tokenizer.path runs/tokenizer
"""

from collections.abc import Sequence
from pathlib import Path

from wine_gpt.cli import exits_cleanly
from wine_gpt.commands.common import read_config
from wine_gpt.config import PretrainConfig, TokenizerRunConfig


@exits_cleanly
def main(arguments: Sequence[str] | None = None) -> None:
    """Read the config, train, and save."""
    config = read_config(
        TokenizerRunConfig, arguments, name="train-tokenizer", description=__doc__, whole_class=PretrainConfig
    )
    from wine_gpt.data.reviews import load_reviews
    from wine_gpt.tokenizer import save_tokenizer, train_on_reviews
    from wine_gpt.tokenizer.files import require_tokenizer_folder
    from wine_gpt.tokenizer.schemes import unit

    require_tokenizer_folder(Path(config.output_dir))
    reviews = load_reviews(config.data)
    print(reviews.report)
    tokenizer = train_on_reviews(reviews.splits["train"], config.data, config.tokenizer)
    save_tokenizer(tokenizer, config.output_dir)
    print(f"saved: {config.output_dir}, {len(tokenizer):,} {unit(tokenizer)}")
