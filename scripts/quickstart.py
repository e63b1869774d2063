"""Train on the bundled synthetic sample, unless runs/sample has a model, and generate reviews with transformers.

    python scripts/quickstart.py

This is ``wine-gpt quickstart``; its code is in ``wine_gpt/commands/quickstart.py``.
"""

from wine_gpt.cli import command_main

main = command_main("quickstart")

if __name__ == "__main__":
    main()
