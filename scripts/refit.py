"""Train a tested run's model again on all its reviews, for publishing.

    python scripts/refit.py runs/base

The same as ``wine-gpt refit``; ``--help`` lists the settings, ``wine_gpt/commands/refit.py`` has the code.
"""

from wine_gpt.cli import command_main

main = command_main("refit")

if __name__ == "__main__":
    main()
