"""A training run of one second on reviews that count upwards."""

from pathlib import Path
from typing import Any

import numpy as np
from accelerate import Accelerator
from datasets import Dataset, DatasetDict
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from wine_gpt.config import ModelConfig, TrainingConfig
from wine_gpt.modeling.gpt2 import build_model
from wine_gpt.modeling.loss import LanguageModelLoss
from wine_gpt.training.objective import LanguageModeling
from wine_gpt.training.trainer import Trainer

WORDS = ["[PAD]", "[UNK]", *(f"w{number}" for number in range(20)), "[BOS]", "[EOS]"]
BOS, EOS = 22, 23
MODEL = ModelConfig(n_layer=1, n_head=2, n_embd=16, n_inner=32, block_size=16, dropout=0.2)
TRAINING = TrainingConfig(
    epochs=3, batch_tokens=128, learning_rate=0.01, optimizer="muon", checkpoint_steps=4, keep_checkpoints=50
)


def make_tokenizer() -> PreTrainedTokenizerFast:
    core = Tokenizer(models.WordLevel({word: index for index, word in enumerate(WORDS)}, unk_token="[UNK]"))
    core.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    core.post_processor = processors.TemplateProcessing(single="[BOS] $A", special_tokens=[("[BOS]", BOS)])
    return PreTrainedTokenizerFast(
        tokenizer_object=core, pad_token="[PAD]", unk_token="[UNK]", bos_token="[BOS]", eos_token="[EOS]"
    )


def make_splits() -> DatasetDict:
    """Return reviews that count upwards from a random word, so that there is something to learn."""
    random = np.random.default_rng(0)

    def split(reviews: int) -> Dataset:
        starts, lengths = random.integers(0, 20, reviews), random.integers(3, 13, reviews)
        ids = [
            [BOS, *(2 + (start + np.arange(length)) % 20).tolist(), EOS]
            for start, length in zip(starts, lengths, strict=True)
        ]
        return Dataset.from_dict({"input_ids": ids, "length": [len(review) for review in ids]})

    return DatasetDict(train=split(90), validation=split(20), test=split(20))


def make_trainer(
    folder: Path,
    tokenizer: PreTrainedTokenizerFast,
    splits: DatasetDict,
    config: TrainingConfig = TRAINING,
    resume_key: dict[str, Any] | None = None,
    **options: Any,  # noqa: ANN401
) -> Trainer:
    """Return a trainer; ``options`` are those of :class:`Trainer`."""
    model = build_model(MODEL, tokenizer, config.seed)
    objective = LanguageModeling(LanguageModelLoss(model), tokenizer, splits, "w0")
    return Trainer(objective, config, Accelerator(cpu=True), folder, resume_key or {"a": 1}, **options)
