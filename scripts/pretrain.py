"""Pretrain a small GPT-2 from scratch on reviews.

    python scripts/pretrain.py                                                  # the bundled synthetic sample
    python scripts/pretrain.py configs/base.yaml --data.path FILE --output_dir runs/base
    python scripts/pretrain.py configs/class.yaml --data.path kaggle --training.epochs 2
    accelerate launch --config_file configs/accelerate/cpu_processes.yaml scripts/pretrain.py configs/base.yaml

``accelerate launch`` is for several processes. ``--help`` lists every setting; ``--resume`` continues a run that
was interrupted. This is ``wine-gpt pretrain``; its code is in ``wine_gpt/commands/pretrain.py``.
"""

from wine_gpt.cli import command_main

main = command_main("pretrain")

if __name__ == "__main__":
    main()
