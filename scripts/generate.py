"""Generate a review with a trained model, word by word, and show how each word was chosen.

    python scripts/generate.py runs/sample --prompt "wine review : germany" --temperature 0.5
    python scripts/generate.py runs/sample --explain --html review.html

This is ``wine-gpt generate``; its code is in ``wine_gpt/commands/generate.py``.
"""

from wine_gpt.cli import command_main

main = command_main("generate")

if __name__ == "__main__":
    main()
