"""Distill an ensemble of pretrained models into one model of the same size.

    python scripts/distill.py configs/best.yaml --data.path FILE

The same as ``wine-gpt distill``; ``--help`` lists the settings, ``wine_gpt/commands/distill.py`` has the code.
"""

from wine_gpt.cli import command_main

main = command_main("distill")

if __name__ == "__main__":
    main()
