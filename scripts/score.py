"""Score a model on reviews that it never saw: its loss, and the reviews that it generates beside real ones.

    python scripts/score.py runs/base                        # the test split that the run held out
    python scripts/score.py runs/base --data.path FILE --texts 200
    python scripts/score.py openai-community/gpt2 --data.path FILE

``--help`` lists every setting. This is ``wine-gpt score``; its code is in ``wine_gpt/commands/score.py``.
"""

from wine_gpt.cli import command_main

main = command_main("score")

if __name__ == "__main__":
    main()
