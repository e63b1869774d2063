"""Look inside a model in the browser: the explorer, a static page, with the files of a run on this machine.

    python scripts/explore.py runs/sample
    python scripts/explore.py runs/sample --port 8000 --no_browser

This is ``wine-gpt explore``; its code is in ``wine_gpt/commands/explore.py``.
"""

from wine_gpt.cli import command_main

main = command_main("explore")

if __name__ == "__main__":
    main()
