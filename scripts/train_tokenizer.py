"""Train a tokenizer for several runs on the train split.

    python scripts/train_tokenizer.py --data.path FILE --output_dir runs/tokenizer

The same as ``wine-gpt train-tokenizer``; ``--help`` lists the settings,
``wine_gpt/commands/train_tokenizer.py`` has the code.
"""

from wine_gpt.cli import command_main

main = command_main("train_tokenizer")

if __name__ == "__main__":
    main()
