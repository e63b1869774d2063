"""Distill an ensemble of pretrained models into one model of the same size, for the lowest loss.

    python scripts/distill.py configs/best.yaml --data.path FILE
    python scripts/distill.py configs/best.yaml --data.path FILE --resume

``--help`` lists every setting; ``--resume`` continues a run that was interrupted. This is ``wine-gpt distill``; its
code is in ``wine_gpt/commands/distill.py``.
"""

from wine_gpt.cli import command_main

main = command_main("distill")

if __name__ == "__main__":
    main()
