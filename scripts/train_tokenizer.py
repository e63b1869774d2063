"""Train the word-level tokenizer on the train split and save it, so that several runs can use the same one.

    python scripts/train_tokenizer.py --data.path FILE --output_dir runs/tokenizer
    python scripts/pretrain.py configs/base.yaml --data.path FILE --tokenizer.path runs/tokenizer

This is ``wine-gpt train-tokenizer``; its code is in ``wine_gpt/commands/train_tokenizer.py``.
"""

from wine_gpt.cli import run_command

if __name__ == "__main__":
    run_command("train_tokenizer")
