"""Look inside a model in the browser.

    python scripts/explore.py runs/sample

The same as ``wine-gpt explore``; ``--help`` lists the options, ``wine_gpt/commands/explore.py`` has the code.
"""

from wine_gpt.cli import command_main

main = command_main("explore")

if __name__ == "__main__":
    main()
