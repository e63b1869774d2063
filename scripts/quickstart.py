"""Train on the bundled synthetic sample, and generate reviews with transformers.

    python scripts/quickstart.py

The same as ``wine-gpt quickstart``; ``--help`` lists the options, ``wine_gpt/commands/quickstart.py`` has the code.
"""

from wine_gpt.cli import command_main

main = command_main("quickstart")

if __name__ == "__main__":
    main()
