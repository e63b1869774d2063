"""Train on the bundled synthetic sample, unless that is done, and generate reviews through transformers' pipeline.

python scripts/quickstart.py
"""

from pathlib import Path

from wine_gpt.cli import exits_cleanly
from wine_gpt.config import PretrainConfig
from wine_gpt.config_io import parse_config

CONFIG = Path(__file__).parents[1] / "configs" / "sample.yaml"
PROMPTS = ("wine review : italy", "wine review : us : california", "wine review : germany : mosel : riesling :")


@exits_cleanly
def main() -> None:
    """Train, generate, and say what to do next."""
    config = parse_config(PretrainConfig, [str(CONFIG), "--resume"])
    from transformers import pipeline, set_seed

    from wine_gpt.modeling.pretrained import quiet_transformers
    from wine_gpt.run_folder import METRICS
    from wine_gpt.training.pretrain import pretrain

    folder = Path(config.output_dir)
    if not (folder / METRICS).exists():
        print("training on the bundled synthetic sample: reviews of no real wine, written by the project")
        pretrain(config)
    print(f'\npipeline("text-generation", model="{folder}"):\n')
    with quiet_transformers():
        write = pipeline("text-generation", model=str(folder))
    set_seed(config.training.seed)
    for prompt in PROMPTS:
        print(f"  {write(prompt)[0]['generated_text']}\n")
    print(
        f"model: {folder} (trained on synthetic reviews)\n"
        f"next:  .venv/bin/python scripts/generate.py {folder} --explain\n"
        "       .venv/bin/python scripts/pretrain.py configs/base.yaml --data.path FILE --output_dir runs/base"
    )


if __name__ == "__main__":
    main()
