"""Train the word-level tokenizer on the train split and save it, so that several runs can use the same one.

    python scripts/train_tokenizer.py --data.path FILE --output_dir runs/tokenizer
    python scripts/pretrain.py configs/base.yaml --data.path FILE --tokenizer.path runs/tokenizer

This is ``wine-gpt train-tokenizer``; its code is in ``wine_gpt/commands/train_tokenizer.py``.
"""

from wine_gpt.cli import command_main

main = command_main("train_tokenizer")

if __name__ == "__main__":
    main()
