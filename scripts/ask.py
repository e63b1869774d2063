"""Ask a multiple-choice question about a review, which a pretrained model answers by the likelihood of each choice.

    python scripts/ask.py runs/sample --review "wine review : us : oregon : pinot noir : Notes of rhubarb."
        --question food

This is ``wine-gpt ask``; its code is in ``wine_gpt/commands/ask.py``.
"""

from wine_gpt.cli import command_main

main = command_main("ask")

if __name__ == "__main__":
    main()
