"""Print the training reviews of a run that are most like a text.

    python scripts/similar.py runs/sample --text "A perfumed nose of rhubarb and forest floor sets the scene."

The same as ``wine-gpt similar``; ``--help`` lists the options, ``wine_gpt/commands/similar.py`` has the code.
"""

from wine_gpt.cli import command_main

main = command_main("similar")

if __name__ == "__main__":
    main()
