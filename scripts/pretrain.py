"""Pretrain a small GPT-2 from scratch on reviews.

    accelerate launch scripts/pretrain.py                                              # the bundled synthetic sample
    accelerate launch scripts/pretrain.py configs/base.yaml --data.path FILE --output_dir runs/base
    accelerate launch scripts/pretrain.py configs/class.yaml --data.path kaggle --training.epochs 2
    accelerate launch --config_file configs/accelerate/cpu_processes.yaml scripts/pretrain.py configs/base.yaml

``python scripts/pretrain.py`` trains in one process. ``--help`` lists every setting; ``--resume`` continues a run that
was interrupted. This is ``wine-gpt pretrain``; its code is in ``wine_gpt/commands/pretrain.py``.
"""

from wine_gpt.cli import command_main

main = command_main("pretrain")

if __name__ == "__main__":
    main()
