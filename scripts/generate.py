"""Generate a review with a trained model, and show how each word was chosen.

    python scripts/generate.py runs/sample --prompt "wine review : germany" --explain

The same as ``wine-gpt generate``; ``--help`` lists the options, ``wine_gpt/commands/generate.py`` has the code.
"""

from wine_gpt.cli import command_main

main = command_main("generate")

if __name__ == "__main__":
    main()
