"""Score a model on reviews that it never saw.

    python scripts/score.py runs/base

The same as ``wine-gpt score``; ``--help`` lists the settings, ``wine_gpt/commands/score.py`` has the code.
"""

from wine_gpt.cli import command_main

main = command_main("score")

if __name__ == "__main__":
    main()
