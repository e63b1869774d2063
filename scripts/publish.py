"""Publish a finished run on the Hugging Face Hub: model, fine-tuned models and demo, each in one commit.

    python scripts/publish.py runs/base --repo org/wine-gpt --dry_run
    python scripts/publish.py runs/base --repo org/wine-gpt --adapters runs/lora --space org/wine-gpt-demo

The token is the one of ``hf auth login``, or HF_TOKEN. The same code as ``wine-gpt publish``, in
``wine_gpt/commands/publish.py``.
"""

from wine_gpt.commands.publish import main

if __name__ == "__main__":
    main()
