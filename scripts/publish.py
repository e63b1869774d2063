"""Publish a finished run on the Hugging Face Hub.

    python scripts/publish.py runs/base --repo org/wine-gpt --dry_run

The same as ``wine-gpt publish``; ``--help`` lists the options, ``wine_gpt/commands/publish.py`` has the code.
"""

from wine_gpt.cli import command_main

main = command_main("publish")

if __name__ == "__main__":
    main()
