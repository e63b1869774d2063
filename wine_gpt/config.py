"""Every setting of wine_gpt: one frozen dataclass per module, one root per script.

Nothing here imports torch, so ``--help`` and a wrong flag answer at once.
"""

import dataclasses
import math
from dataclasses import dataclass, field

from wine_gpt.errors import UserError

TRACKERS = ("tensorboard", "trackio", "wandb")
OPTIMIZERS = ("adamw", "muon")
PRECISIONS = ("auto", "no", "bf16", "fp16")
METHODS = ("lora", "full")


def require(condition: bool, name: str, value: object, rule: str) -> None:
    """Raise a :class:`UserError` that quotes the setting and its value unless ``condition`` holds."""
    if not condition:
        raise UserError(f"config: {name} is {value!r}: {rule}")


@dataclass(frozen=True)
class DataConfig:
    """Where the reviews come from, what a review's text is, and how it is split."""

    # sample (bundled, synthetic), kaggle (downloads), a file (.json, .jsonl, .csv, .zip, .parquet), a Hub data set
    path: str = "sample"
    # encoding of a JSON, JSON Lines or CSV file; a byte order mark is accepted with utf-8
    encoding: str = "utf-8"
    # the words every text begins with; may be empty
    prefix: str = "wine review"
    # the columns that follow the prefix, in order; a text is "prefix : field : … : text_field"
    prompt_fields: tuple[str, ...] = ("country", "province", "variety")
    # the column that is written last
    text_field: str = "description"
    # shares of the distinct texts that are held out, 0 to 1
    validation_fraction: float = 0.05
    test_fraction: float = 0.05
    # changes which texts are held out, and nothing else
    split_seed: int = 42
    # longer values of text_field are cut at the last white space before this many characters
    max_characters: int = 20_000

    def __post_init__(self) -> None:
        """Check what can be checked without the data."""
        require(self.path != "", "data.path", self.path, "name a file, a Hub data set, 'kaggle' or 'sample'")
        require(self.text_field != "", "data.text_field", self.text_field, "name a column")
        columns = [*self.prompt_fields, self.text_field]
        require(len(set(columns)) == len(columns), "data.prompt_fields", columns, "a column is named twice")
        for name in ("validation_fraction", "test_fraction"):
            require(0 <= getattr(self, name) < 1, f"data.{name}", getattr(self, name), "must be in [0, 1)")
        held_out = self.validation_fraction + self.test_fraction
        require(held_out < 1, "data.validation_fraction + data.test_fraction", held_out, "must be below 1")
        require(self.max_characters >= 1, "data.max_characters", self.max_characters, "must be at least 1")


@dataclass(frozen=True)
class TokenizerConfig:
    """The word-level tokenizer."""

    # folder or Hub id of a trained tokenizer; none: one is trained on the train split
    path: str | None = None
    # most words kept, [PAD] and [UNK] included, [BOS] and [EOS] not (10,000 in the class scheme)
    vocab_size: int = 10_000

    def __post_init__(self) -> None:
        """Check that at least one word fits beside [PAD] and [UNK]."""
        require(self.vocab_size >= 3, "tokenizer.vocab_size", self.vocab_size, "must be at least 3")


@dataclass(frozen=True)
class ModelConfig:
    """The shape of the GPT-2; the vocabulary's size comes from the tokenizer."""

    n_layer: int = 2
    n_head: int = 4
    # width of the residual stream
    n_embd: int = 128
    # width of the feed-forward layer
    n_inner: int = 512
    # most positions of one review, [BOS] included; longer reviews are cut and counted
    block_size: int = 192
    # probability for embeddings, attention and residual branches alike
    dropout: float = 0.1

    def __post_init__(self) -> None:
        """Check the shapes against each other."""
        for name in ("n_layer", "n_head", "n_embd", "n_inner"):
            require(getattr(self, name) >= 1, f"model.{name}", getattr(self, name), "must be at least 1")
        require(self.block_size >= 8, "model.block_size", self.block_size, "must be at least 8")
        divides = f"must be a multiple of model.n_head, {self.n_head}"
        require(self.n_embd % self.n_head == 0, "model.n_embd", self.n_embd, divides)
        require(0 <= self.dropout < 1, "model.dropout", self.dropout, "must be in [0, 1)")


@dataclass(frozen=True)
class GenerationDefaults:
    """How the model samples unless its user says otherwise; written to its ``generation_config.json``.

    The defaults were chosen by measurement: docs/evaluation.md, "Sampling settings".
    """

    # logits are divided by it: below 1 safer, above 1 bolder
    temperature: float = 0.9
    # sample from the likeliest words whose probabilities add up to top_p; 1: from all words
    top_p: float = 1.0
    # sample from the top_k likeliest words; 0: from all words
    top_k: int = 0

    def __post_init__(self) -> None:
        """Check the ranges."""
        name = "generation.temperature"
        require(0 < self.temperature < math.inf, name, self.temperature, "must be above 0 and finite")
        require(0 < self.top_p <= 1, "generation.top_p", self.top_p, "must be in (0, 1]")
        require(self.top_k >= 0, "generation.top_k", self.top_k, "must not be negative")


@dataclass(frozen=True)
class TrainingConfig:
    """How the weights are found; counts are optimizer steps over all processes."""

    epochs: int = 5
    # most positions, padding included, that one optimizer step sees over all processes
    batch_tokens: int = 2048
    # equal parts a batch is cut into, each one forward pass; none: one per process. More than processes means
    # accumulation
    micro_batches: int | None = None
    # the peak, reached after the warm-up; then a cosine down to final_learning_rate_ratio of it
    learning_rate: float = 1e-3
    warmup_ratio: float = 0.05
    final_learning_rate_ratio: float = 0.1
    # muon: for the matrices between the layers, and AdamW for the rest; adamw: for all
    optimizer: str = "adamw"
    # for matrices only
    weight_decay: float = 0.1
    adam_beta1: float = 0.9
    adam_beta2: float = 0.95
    # gradients are scaled down to this norm
    max_grad_norm: float = 1.0
    # auto, no, bf16 or fp16; auto is bf16 where the hardware multiplies it
    mixed_precision: str = "auto"
    # initial weights, order of the reviews, dropout and samples
    seed: int = 42
    # optimizer steps between checkpoints besides the one at each epoch's end; 0: only those
    checkpoint_steps: int = 500
    keep_checkpoints: int = 2
    # any of tensorboard, trackio, wandb, comma-separated, or none
    trackers: str = "none"

    def __post_init__(self) -> None:
        """Check the ranges."""
        for name in ("epochs", "batch_tokens", "keep_checkpoints"):
            require(getattr(self, name) >= 1, f"training.{name}", getattr(self, name), "must be at least 1")
        if self.micro_batches is not None:
            require(self.micro_batches >= 1, "training.micro_batches", self.micro_batches, "must be at least 1")
        for name in ("learning_rate", "max_grad_norm"):
            require(getattr(self, name) > 0, f"training.{name}", getattr(self, name), "must be above 0")
        for name in ("weight_decay", "checkpoint_steps"):
            require(getattr(self, name) >= 0, f"training.{name}", getattr(self, name), "must not be negative")
        for name in ("warmup_ratio", "final_learning_rate_ratio"):
            require(0 <= getattr(self, name) <= 1, f"training.{name}", getattr(self, name), "must be in [0, 1]")
        for name in ("adam_beta1", "adam_beta2"):
            require(0 <= getattr(self, name) < 1, f"training.{name}", getattr(self, name), "must be in [0, 1)")
        optimizers = f"must be one of {', '.join(OPTIMIZERS)}"
        require(self.optimizer in OPTIMIZERS, "training.optimizer", self.optimizer, optimizers)
        precisions = f"must be one of {', '.join(PRECISIONS)}"
        require(self.mixed_precision in PRECISIONS, "training.mixed_precision", self.mixed_precision, precisions)
        for name in self.tracker_names:
            known = f"known are {', '.join(TRACKERS)} and none"
            require(name in TRACKERS, "training.trackers", name, known)

    @property
    def tracker_names(self) -> list[str]:
        """The trackers asked for, none as an empty list."""
        return [] if self.trackers == "none" else [name.strip() for name in self.trackers.split(",")]


@dataclass(frozen=True)
class PretrainConfig:
    """Everything that ``scripts/pretrain.py`` does."""

    data: DataConfig = field(default_factory=DataConfig)
    tokenizer: TokenizerConfig = field(default_factory=TokenizerConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    generation: GenerationDefaults = field(default_factory=GenerationDefaults)
    training: TrainingConfig = field(default_factory=TrainingConfig)
    # where model, tokenizer, metrics, samples, curve and checkpoints go
    output_dir: str = "runs/pretrain"
    # go on from the newest good checkpoint ("latest", also what a bare --resume means) or from the one named
    resume: str | None = None
    # start over although output_dir holds a run
    overwrite: bool = False

    def __post_init__(self) -> None:
        """Check that resuming and starting over are not both asked for."""
        require(self.output_dir != "", "output_dir", self.output_dir, "name a folder")
        require(not (self.resume and self.overwrite), "overwrite", True, "can't go together with resume")


@dataclass(frozen=True)
class TokenizerRunConfig:
    """Everything that ``scripts/train_tokenizer.py`` does."""

    data: DataConfig = field(default_factory=DataConfig)
    tokenizer: TokenizerConfig = field(default_factory=TokenizerConfig)
    # where the tokenizer goes
    output_dir: str = "runs/tokenizer"


@dataclass(frozen=True)
class ScoreConfig:
    """Everything that ``scripts/score.py`` does; its first argument is the model."""

    # folder of a run or of an adapter, or a model's id on the Hub
    model: str
    # what the model was trained on; a run's own settings are the defaults
    data: DataConfig = field(default_factory=DataConfig)
    # whose reviews the model is judged by: test or validation
    split: str = "test"
    # most reviews that are generated to compare with as many real ones
    texts: int = 1000
    # prompts that are continued at once
    batch_size: int = 64
    # labels with fewer reviews to train on are left out of conditioning
    min_reviews: int = 20
    # of the sampling, and of what is drawn
    seed: int = 42
    # where figures and plots go; none: MODEL/evaluation
    output_dir: str | None = None

    def __post_init__(self) -> None:
        """Check the ranges."""
        require(self.model != "", "model", self.model, "name a folder or a model on the Hub")
        require(self.split in ("test", "validation"), "split", self.split, "must be test or validation")
        for name in ("texts", "batch_size", "min_reviews"):
            require(getattr(self, name) >= 1, name, getattr(self, name), "must be at least 1")
        require(0 <= self.seed < 2**32, "seed", self.seed, "must be in [0, 2^32)")


@dataclass(frozen=True)
class ReviewsConfig:
    """Where the base's reviews are; all else of them is as the base's config.yaml says."""

    # file, kaggle or sample, as for pretraining; none: where the base found them
    path: str | None = None
    # of a JSON, JSON Lines or CSV file; none: the base's
    encoding: str | None = None


@dataclass(frozen=True)
class LoraConfig:
    """The adapter; the same for all values, so that one server can switch between them."""

    # rank of the update of each weight matrix
    rank: int = 16
    # the update is multiplied by alpha / rank
    alpha: int = 32
    # probability, of the adapter's input; the base's own dropout comes on top
    dropout: float = 0.1
    # names of the layers that are adapted, in every block
    targets: tuple[str, ...] = ("c_attn", "c_proj", "c_fc")

    def __post_init__(self) -> None:
        """Check the ranges."""
        for name in ("rank", "alpha"):
            require(getattr(self, name) >= 1, f"lora.{name}", getattr(self, name), "must be at least 1")
        require(0 <= self.dropout < 1, "lora.dropout", self.dropout, "must be in [0, 1)")
        require(len(self.targets) > 0, "lora.targets", self.targets, "name at least one layer")


@dataclass(frozen=True)
class FinetuneConfig:
    """Everything that ``scripts/finetune.py`` does."""

    # lora: an adapter for the base; full: all its weights
    method: str = "lora"
    # folder that scripts/pretrain.py left
    base: str = "runs/base"
    # the column whose reviews of one value are fine-tuned on
    field: str = "variety"
    # the value, in any case and with or without accents; all: every value with min_reviews
    value: str | None = None
    # short for field: variety and this value
    variety: str | None = None
    # fewest reviews, over all splits, that a value must have
    min_reviews: int = 20
    data: ReviewsConfig = dataclasses.field(default_factory=ReviewsConfig)
    lora: LoraConfig = dataclasses.field(default_factory=LoraConfig)
    training: TrainingConfig = dataclasses.field(default_factory=TrainingConfig)
    # a folder for each value goes here, and the table over all of them
    output_dir: str = "runs/finetune"
    # skip values that are finished and go on with those that are not
    resume: bool = False
    # start over with values that output_dir holds already
    overwrite: bool = False

    def __post_init__(self) -> None:
        """Check that exactly one value is named, and the rest that needs no data."""
        known = f"must be one of {', '.join(METHODS)}"
        require(self.method in METHODS, "method", self.method, known)
        require(self.base != "", "base", self.base, "name the folder of a pretrained run")
        require(self.field != "", "field", self.field, "name a column")
        both = self.variety is not None and (self.value is not None or self.field != "variety")
        require(not both, "variety", self.variety, "is short for field and value: give it or them")
        require(
            bool((self.requested or "").strip()),
            "value",
            self.requested,
            'name one, as in --variety "Pinot Noir", or all',
        )
        require(self.min_reviews >= 1, "min_reviews", self.min_reviews, "must be at least 1")
        require(self.output_dir != "", "output_dir", self.output_dir, "name a folder")
        require(not (self.resume and self.overwrite), "overwrite", True, "can't go together with resume")

    @property
    def requested(self) -> str | None:
        """The value that is asked for, by either name."""
        return self.value if self.variety is None else self.variety
