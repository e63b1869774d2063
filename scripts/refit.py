"""Train a tested run's model again on all its reviews, none held out, for publishing.

    python scripts/refit.py runs/base

``--help`` lists every setting. This is ``wine-gpt refit``; its code is in ``wine_gpt/commands/refit.py``.
"""

from wine_gpt.cli import command_main

main = command_main("refit")

if __name__ == "__main__":
    main()
