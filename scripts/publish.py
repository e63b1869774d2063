"""Publish a finished run on the Hugging Face Hub: model, fine-tuned models and demo, each in one commit.

    python scripts/publish.py runs/base --repo org/wine-gpt --dry_run
    python scripts/publish.py runs/base --repo org/wine-gpt --adapters runs/lora --space org/wine-gpt-demo

Log in with ``hf auth login`` first, or set HF_TOKEN. ``--help`` lists every option. This is ``wine-gpt publish``; its
code is in ``wine_gpt/commands/publish.py``.
"""

from wine_gpt.cli import command_main

main = command_main("publish")

if __name__ == "__main__":
    main()
