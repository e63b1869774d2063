"""Fine-tune a pretrained model on the reviews of one subset: a grape variety, or a value of any other column.

    python scripts/finetune.py configs/finetune/lora.yaml --base runs/base --variety "Pinot Noir"
    python scripts/finetune.py configs/finetune/full.yaml --base runs/base --variety all --min_reviews 100
    python scripts/finetune.py configs/finetune/lora.yaml --base runs/base --field country --value Italy

With ``accelerate launch`` instead of ``python`` several processes train. ``--help`` lists every setting; ``--resume``
skips finished subsets. This is ``wine-gpt finetune``; its code is in ``wine_gpt/commands/finetune.py``.
"""

from wine_gpt.cli import command_main

main = command_main("finetune")

if __name__ == "__main__":
    main()
