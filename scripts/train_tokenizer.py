"""Train the word-level tokenizer on the train split and save it, for several runs to share.

python scripts/train_tokenizer.py --data.path FILE --output_dir runs/tokenizer
python scripts/pretrain.py configs/base.yaml --data.path FILE --tokenizer.path runs/tokenizer
"""

import sys
from pathlib import Path

from wine_gpt.cli import exits_cleanly
from wine_gpt.config import TokenizerRunConfig
from wine_gpt.config_io import parse_config


@exits_cleanly
def main() -> None:
    """Read the config, train and save."""
    config = parse_config(TokenizerRunConfig, sys.argv[1:])
    from wine_gpt.data.reviews import load_reviews
    from wine_gpt.run_folder import require_writable
    from wine_gpt.tokenizer import save_tokenizer, train_on_reviews

    require_writable(Path(config.output_dir))
    reviews = load_reviews(config.data)
    print(reviews.report)
    tokenizer = train_on_reviews(reviews.splits["train"], config.data, config.tokenizer.vocab_size)
    save_tokenizer(tokenizer, config.output_dir)
    print(f"saved: {config.output_dir}, {len(tokenizer):,} words")


if __name__ == "__main__":
    main()
