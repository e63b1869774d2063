"""Fine-tune a pretrained model: on one subset's reviews, to find a review's label, or for embeddings.

    python scripts/finetune.py configs/finetune/lora.yaml --base runs/base --variety "Pinot Noir"

The same as ``wine-gpt finetune``; ``--help`` lists the settings, ``wine_gpt/commands/finetune.py`` has the code.
"""

from wine_gpt.cli import command_main

main = command_main("finetune")

if __name__ == "__main__":
    main()
