"""Answer a multiple-choice question about a review by the likelihood of each choice.

    python scripts/ask.py runs/sample --review "wine review : us : oregon : pinot noir : Rhubarb." --question food

The same as ``wine-gpt ask``; ``--help`` lists the options, ``wine_gpt/commands/ask.py`` has the code.
"""

from wine_gpt.cli import command_main

main = command_main("ask")

if __name__ == "__main__":
    main()
