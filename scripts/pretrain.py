"""Pretrain a small GPT-2 from scratch on reviews.

    python scripts/pretrain.py configs/base.yaml --data.path FILE --output_dir runs/base
    accelerate launch --config_file configs/accelerate/cpu_processes.yaml scripts/pretrain.py configs/base.yaml

The same as ``wine-gpt pretrain``; ``--help`` lists the settings, ``wine_gpt/commands/pretrain.py`` has the code.
"""

from wine_gpt.cli import command_main

main = command_main("pretrain")

if __name__ == "__main__":
    main()
