"""Every setting: a frozen dataclass for each section, and one for each command.

The comment above a field is its text in ``--help``. This module does not import torch, so that ``--help`` and errors
in settings appear at once.
"""

import dataclasses
import math
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, field

from wine_gpt.errors import UserError

TRACKERS = ("tensorboard", "trackio", "wandb")
OPTIMIZERS = ("adamw", "muon")
PRECISIONS = ("auto", "no", "bf16", "fp16")
METHODS = ("lora", "full")
# the smallest vocabulary of the kind bpe: [PAD], [UNK] and the 256 bytes
BPE_ENTRIES = 258
# the most bands of numeric labels
MOST_BANDS = 100
# what a model is fine-tuned for: to write reviews of one subset, to find a review's label, or to compare descriptions;
# and the config of fine-tuning that is read if none is named
FINETUNE_FILES = {
    "generate": "finetune/lora.yaml",
    "classify": "finetune/classify.yaml",
    "embed": "finetune/embed.yaml",
}
TASKS = tuple(FINETUNE_FILES)
WORDS, CHARACTERS, BPE = TOKENIZER_KINDS = ("words", "characters", "bpe")
# how the demo is published: a Gradio app needs a paid plan of the Hub, the explorer is a static page
SPACE_SDKS = ("auto", "gradio", "static")
# the Hub gives personal accounts two Spaces on ZeroGPU without a paid plan
ZERO_GPU = "zero-a10g"
SPACE_HARDWARE = ("cpu-basic", ZERO_GPU)
# the smallest and largest temperature: beyond them the logits overflow, or all words are equally likely
TEMPERATURES = (0.01, 100)
# the largest integer of any setting
LARGEST = 2**32 - 1
# the largest sizes of a model; beyond them not even its first tensor fits into memory
LARGEST_SIZES = {"n_layer": 1000, "n_head": 1000, "n_embd": 2**16, "n_inner": 2**20, "block_size": 2**20}
# the most synthetic reviews per real one; the predictions of a review take about 15 kB
LARGEST_RATIO = 100
DEDUPLICATION = ("text", "record")
# names of separators that are hard to type
SEPARATORS = {"tab": "\t", "\\t": "\t"}
# the text settings for which "" is a value
EMPTY_TEXTS = ("prefix",)


def require(condition: bool, name: str, value: object, rule: str) -> None:
    """Raise a :class:`UserError` that quotes the setting and its value unless ``condition`` holds."""
    if not condition:
        raise UserError(f"config: {name} is {value!r}: {rule}")


def require_choice(name: str, value: str, choices: Sequence[str]) -> None:
    """Raise a :class:`UserError` unless the value is one of the choices."""
    require(value in choices, name, value, f"must be one of {', '.join(choices)}")


def require_positive(section: object, prefix: str, *names: str) -> None:
    """Raise a :class:`UserError` for the first of a section's settings that is below 1; None is not checked."""
    for name in names:
        value = getattr(section, name)
        require(value is None or value >= 1, f"{prefix}{name}", value, "must be at least 1")


def require_output(config: object) -> None:
    """Raise a :class:`UserError` if a config names no output folder, or both resumes and overwrites a run."""
    output_dir, resume, overwrite = (getattr(config, name, None) for name in ("output_dir", "resume", "overwrite"))
    require(output_dir != "", "output_dir", output_dir, "name a folder")
    require(not (resume and overwrite), "overwrite", True, "can't go together with resume")


def require_defaults(section: "LoraConfig | ObjectiveConfig", name: str, rule: str) -> None:
    """Raise a :class:`UserError` for the first setting of a section whose value is not the default."""
    for entry in dataclasses.fields(section):
        value = getattr(section, entry.name)
        require(value == entry.default, f"{name}.{entry.name}", value, rule)


def column_name(name: str) -> str:
    """Return the form in which column names are compared: Unicode NFC, no white space or byte order mark around it."""
    return unicodedata.normalize("NFC", name).strip("\ufeff\u200b").strip()


@dataclass(frozen=True)
class DataConfig:
    """Where the reviews come from, how their texts are composed, and how they are split."""

    # sample (bundled, synthetic), kaggle (downloads it), a file, a folder or glob of parts, archive.zip:member, or the
    # id of a Hub dataset; docs/data.md lists the formats
    path: str = "sample"
    # branch, tag or commit of a Hub dataset; null is main
    revision: str | None = None
    # the configuration (subset) of a Hub dataset that has several
    name: str | None = None
    # encoding of text files: JSON, JSON Lines, CSV and .txt; utf-8 accepts a byte order mark
    encoding: str = "utf-8"
    # the character between the columns of a CSV file, or tab; null finds it in the header
    separator: str | None = None
    # the words that every text begins with; may be empty
    prefix: str = "wine review"
    # the columns that follow the prefix, in order; a text is "prefix : field : … : text_field"
    prompt_fields: tuple[str, ...] = ("country", "province", "variety")
    # the column with the running text, which comes last
    text_field: str = "description"
    # fraction of the distinct texts that is held out for validation, from 0 to 1
    validation_fraction: float = 0.05
    # fraction of the distinct texts that is held out for the test, from 0 to 1
    test_fraction: float = 0.05
    # seed of the split, independent of training.seed
    split_seed: int = 42
    # what makes a record a duplicate: text (equal values of text_field) or record (equal prompt_fields too)
    deduplicate: str = "text"
    # texts that stand for a missing value, such as NA; in any column they become null
    missing: tuple[str, ...] = ()
    # keep each line break of a text as a word, for poems or recipes; false reads line breaks as spaces
    line_breaks: bool = False
    # longer values of text_field are cut at the last white space before this many characters
    max_characters: int = 20_000

    def __post_init__(self) -> None:
        """Check what does not need the data."""
        require(self.path != "", "data.path", self.path, "name a file, a Hub dataset, 'kaggle' or 'sample'")
        colons = "write a colon in it with a space on both sides; the one after it is added"
        require(":" not in self.prefix.replace(" : ", " "), "data.prefix", self.prefix, colons)
        require(column_name(self.text_field) != "", "data.text_field", self.text_field, "name a column")
        self._use_normal_forms()
        character = "," if self.separator_character is None else self.separator_character
        one = "must be one character, no quote or line break, or tab"
        require(len(character) == 1 and character not in '"\r\n', "data.separator", self.separator, one)
        columns = [*self.prompt_fields, self.text_field]
        require(len(set(columns)) == len(columns), "data.prompt_fields", columns, "a column is named twice")
        require_choice("data.deduplicate", self.deduplicate, DEDUPLICATION)
        for name in ("validation_fraction", "test_fraction"):
            require(0 <= getattr(self, name) < 1, f"data.{name}", getattr(self, name), "must be in [0, 1)")
        held_out = self.validation_fraction + self.test_fraction
        require(held_out < 1, "data.validation_fraction + data.test_fraction", held_out, "must be below 1")
        require_positive(self, "data.", "max_characters")

    @property
    def separator_character(self) -> str | None:
        """The separator, which the setting may name; None to find it in the header."""
        return self.separator and SEPARATORS.get(self.separator, self.separator)

    def _use_normal_forms(self) -> None:
        # object.__setattr__, because the dataclass is frozen
        object.__setattr__(self, "prefix", unicodedata.normalize("NFC", self.prefix))
        object.__setattr__(self, "prompt_fields", tuple(map(column_name, self.prompt_fields)))
        object.__setattr__(self, "text_field", column_name(self.text_field))


@dataclass(frozen=True)
class TokenizerConfig:
    """The tokenizer."""

    # words (the class's), characters, or bpe (byte-pair encoding, as GPT-2's): docs/tokenizers.md compares them
    kind: str = WORDS
    # folder or Hub id of a trained tokenizer, whose kind need not be set; null trains one on the train split
    path: str | None = None
    # largest vocabulary, with [PAD] and [UNK] but without [BOS] and [EOS]
    vocab_size: int = 10_000

    def __post_init__(self) -> None:
        """Check that at least one word fits beside [PAD] and [UNK]."""
        require(self.vocab_size >= 3, "tokenizer.vocab_size", self.vocab_size, "must be at least 3")
        require_choice("tokenizer.kind", self.kind, TOKENIZER_KINDS)
        if self.kind == BPE:
            rule = f"must be at least {BPE_ENTRIES} for bpe, which has an entry for each byte"
            require(self.vocab_size >= BPE_ENTRIES, "tokenizer.vocab_size", self.vocab_size, rule)


@dataclass(frozen=True)
class ModelConfig:
    """The shape of the GPT-2; its vocabulary size is the tokenizer's."""

    # transformer blocks
    n_layer: int = 2
    # attention heads of each block
    n_head: int = 4
    # width of the residual stream
    n_embd: int = 128
    # width of the feed-forward layer
    n_inner: int = 512
    # context length in tokens, with [BOS]; longer reviews are cut, and their number is reported
    block_size: int = 192
    # dropout probability of embeddings, attention and residual branches
    dropout: float = 0.1

    def __post_init__(self) -> None:
        """Check the shapes against each other."""
        require_positive(self, "model.", "n_layer", "n_head", "n_embd", "n_inner")
        for name, largest in LARGEST_SIZES.items():
            value = getattr(self, name)
            require(value <= largest, f"model.{name}", value, f"must be at most {largest:,}")
        require(self.block_size >= 8, "model.block_size", self.block_size, "must be at least 8")
        rule = f"must be a multiple of model.n_head, {self.n_head}"
        require(self.n_embd % self.n_head == 0, "model.n_embd", self.n_embd, rule)
        require(0 <= self.dropout < 1, "model.dropout", self.dropout, "must be in [0, 1)")


@dataclass(frozen=True)
class GenerationDefaults:
    """How the model samples unless its user says otherwise; written to its ``generation_config.json``.

    The defaults were chosen by measurement: docs/evaluation.md, "Sampling settings".
    """

    # divides the logits: below 1 for likelier words, above 1 for more varied ones
    temperature: float = 0.9
    # sample from the likeliest words whose probabilities add up to top_p; 1 samples from all words
    top_p: float = 1.0
    # sample from the top_k likeliest words; 0 samples from all words
    top_k: int = 0

    def __post_init__(self) -> None:
        """Check the ranges."""
        name = "generation.temperature"
        low, high = TEMPERATURES
        require(low <= self.temperature <= high, name, self.temperature, f"must be from {low} to {high}")
        require(0 < self.top_p <= 1, "generation.top_p", self.top_p, "must be in (0, 1]")
        require(self.top_k >= 0, "generation.top_k", self.top_k, "must not be negative")


@dataclass(frozen=True)
class TrainingConfig:
    """The optimization; a step is an optimizer step over all processes."""

    # passes over the train split
    epochs: int = 5
    # batch size of one step in tokens, padding included, over all processes
    batch_tokens: int = 2048
    # micro-batches per batch, one forward pass each; null is one per process, more accumulate gradients
    micro_batches: int | None = None
    # peak learning rate, after a linear warm-up and before a cosine decay
    learning_rate: float = 1e-3
    # fraction of the steps that warm up
    warmup_ratio: float = 0.05
    # the learning rate at which the cosine would end one step after the last, as a fraction of the peak
    final_learning_rate_ratio: float = 0.1
    # adamw, or muon for the weight matrices of the blocks with AdamW for the rest
    optimizer: str = "adamw"
    # weight decay of the weight matrices; biases and layer norms have none
    weight_decay: float = 0.1
    # whether the embeddings also learn from words that have character n-grams in common; pretraining only
    character_ngrams: bool = False
    # decay rate of AdamW's first moment
    adam_beta1: float = 0.9
    # decay rate of AdamW's second moment
    adam_beta2: float = 0.95
    # gradients are clipped to this norm
    max_grad_norm: float = 1.0
    # auto, no, bf16 or fp16; auto is bf16 if the hardware has bf16 matmuls
    mixed_precision: str = "auto"
    # seed of the initial weights, the order of the reviews, dropout and samples
    seed: int = 42
    # steps between checkpoints; each epoch also ends with one, and 0 saves no others
    checkpoint_steps: int = 500
    # number of newest checkpoints to keep
    keep_checkpoints: int = 2
    # write the weights of every epoch and the random ones to output_dir/epochs, in bfloat16; pretraining only
    keep_epochs: bool = False
    # tensorboard, trackio, wandb, several of them separated by commas, or none
    trackers: str = "none"

    def __post_init__(self) -> None:
        """Check the ranges."""
        require_positive(self, "training.", "epochs", "batch_tokens", "keep_checkpoints", "micro_batches")
        for name in ("learning_rate", "max_grad_norm"):
            require(getattr(self, name) > 0, f"training.{name}", getattr(self, name), "must be above 0")
        for name in ("weight_decay", "checkpoint_steps", "learning_rate"):
            value = getattr(self, name)
            require(0 <= value < math.inf, f"training.{name}", value, "must not be negative or infinite")
        for name in ("warmup_ratio", "final_learning_rate_ratio"):
            require(0 <= getattr(self, name) <= 1, f"training.{name}", getattr(self, name), "must be in [0, 1]")
        for name in ("adam_beta1", "adam_beta2"):
            require(0 <= getattr(self, name) < 1, f"training.{name}", getattr(self, name), "must be in [0, 1)")
        require(0 <= self.seed < 2**32, "training.seed", self.seed, "must be in [0, 2^32)")
        require_choice("training.optimizer", self.optimizer, OPTIMIZERS)
        require_choice("training.mixed_precision", self.mixed_precision, PRECISIONS)
        for name in self.tracker_names:
            require(name in TRACKERS, "training.trackers", name, f"known are {', '.join(TRACKERS)} and none")

    @property
    def tracker_names(self) -> list[str]:
        """The names of the trackers; an empty list for none."""
        return [] if self.trackers == "none" else [name.strip() for name in self.trackers.split(",")]


@dataclass(frozen=True)
class PretrainConfig:
    """The settings of pretraining."""

    data: DataConfig = field(default_factory=DataConfig)
    tokenizer: TokenizerConfig = field(default_factory=TokenizerConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    generation: GenerationDefaults = field(default_factory=GenerationDefaults)
    training: TrainingConfig = field(default_factory=TrainingConfig)
    # folder of the run: model, tokenizer, metrics, samples, loss curve and checkpoints
    output_dir: str = "runs/pretrain"
    # resume from the newest valid checkpoint (latest, or --resume without a value) or from the one named
    resume: str | None = None
    # replace the run in output_dir
    overwrite: bool = False

    def __post_init__(self) -> None:
        """Check that resume and overwrite are not both set."""
        require_output(self)


@dataclass(frozen=True)
class EnsembleConfig:
    """The ensemble whose mean prediction the model learns."""

    # models of the ensemble, pretrained with the seeds training.seed, training.seed + 1 and so on
    members: int = 4
    # passes of each member over the train split; training.epochs is for the distilled model
    member_epochs: int = 16
    # synthetic reviews that the model learns in an epoch, per real review of the train split
    synthetic_ratio: float = 1.0
    # sets of synthetic reviews, of which each epoch has one, in turn; the members write and predict all of them
    synthetic_sets: int = 1

    def __post_init__(self) -> None:
        """Check the ranges."""
        require_positive(self, "distillation.", "members", "member_epochs", "synthetic_sets")
        ratio, largest = self.synthetic_ratio, LARGEST_RATIO
        require(0 < ratio <= largest, "distillation.synthetic_ratio", ratio, f"must be above 0, at most {largest}")


@dataclass(frozen=True)
class DistillConfig(PretrainConfig):
    """The settings of a distillation: those of the distilled model's pretraining, and the ensemble's."""

    distillation: EnsembleConfig = field(default_factory=EnsembleConfig)
    # folder of the run: the files of pretraining, with the members' runs and their predictions as folders
    output_dir: str = "runs/distill"

    def __post_init__(self) -> None:
        """Check that each member has a seed, and that an epoch uses each set of synthetic reviews."""
        super().__post_init__()
        sets, epochs = self.distillation.synthetic_sets, self.training.epochs
        rule = f"must be at most training.epochs, {epochs}, because each epoch has one set"
        require(sets <= epochs, "distillation.synthetic_sets", sets, rule)
        largest = 2**32 - self.distillation.members
        seed = self.training.seed
        require(seed <= largest, "training.seed", seed, f"must be at most {largest:,} for so many members")

    @property
    def student(self) -> PretrainConfig:
        """The settings of the distilled model's pretraining."""
        return PretrainConfig(**{part.name: getattr(self, part.name) for part in dataclasses.fields(PretrainConfig)})


@dataclass(frozen=True)
class TokenizerRunConfig:
    """The settings of training a tokenizer without a model."""

    # settings that the help leaves out; without an annotation, because it is no setting
    REFUSED = ("tokenizer.path",)

    data: DataConfig = field(default_factory=DataConfig)
    tokenizer: TokenizerConfig = field(default_factory=TokenizerConfig)
    # folder of the tokenizer; a config names its run's folder, which is not used
    output_dir: str = "runs/tokenizer"

    def __post_init__(self) -> None:
        """Refuse a trained tokenizer, because it would be ignored."""
        advice = "a new tokenizer is trained, so leave it out; --output_dir names its folder"
        require(self.tokenizer.path is None, "tokenizer.path", self.tokenizer.path, advice)
        require_output(self)


@dataclass(frozen=True)
class ScoreConfig:
    """The settings of scoring; the first argument on the command line is the model."""

    # folder of a run or of an adapter, or a model's id on the Hub
    model: str
    # the reviews that the model was trained on; the settings of a run are the defaults
    data: DataConfig = field(default_factory=DataConfig)
    # the split that is scored: test or validation
    split: str = "test"
    # largest number of reviews that are generated and compared with as many real ones
    texts: int = 1000
    # prompts in one batch
    batch_size: int = 64
    # labels with fewer training reviews are left out of conditioning
    min_reviews: int = 20
    # seed of the sampling and of the choice of reviews
    seed: int = 42
    # folder of results and plots; null is MODEL/evaluation, for a model on the Hub runs/owner--name/evaluation
    output_dir: str | None = None

    def __post_init__(self) -> None:
        """Check the ranges."""
        require(self.model != "", "model", self.model, "name a folder or a model on the Hub")
        require_output(self)
        require_choice("split", self.split, ("test", "validation"))
        require_positive(self, "", "texts", "batch_size", "min_reviews")
        require(0 <= self.seed < 2**32, "seed", self.seed, "must be in [0, 2^32)")


@dataclass(frozen=True)
class ReviewsConfig:
    """Where a run's reviews are, if they were moved; the other data settings are in the run's config.yaml."""

    # where they are now, in any form of data.path; null is the run's
    path: str | None = None
    # encoding of text files: JSON, JSON Lines, CSV and .txt; null is the run's
    encoding: str | None = None

    def apply_to(self, of_run: DataConfig) -> DataConfig:
        """Return a run's data settings with these in place of its own."""
        given = {name: value for name, value in dataclasses.asdict(self).items() if value is not None}
        if given.get("path", of_run.path) != of_run.path:
            # these are of the run's dataset on the Hub
            given |= {"revision": None, "name": None}
        return dataclasses.replace(of_run, **given)


@dataclass(frozen=True)
class RefitConfig:
    """The settings of a refit; the first argument on the command line is the run."""

    # folder of a finished and tested run of pretraining
    run: str
    data: ReviewsConfig = field(default_factory=ReviewsConfig)
    # folder of the refit; null is RUN-refit
    output_dir: str | None = None
    # resume from the newest valid checkpoint
    resume: bool = False
    # replace the run in output_dir
    overwrite: bool = False

    def __post_init__(self) -> None:
        """Check the folders."""
        require(self.run != "", "run", self.run, "name the folder of a finished run")
        require_output(self)


@dataclass(frozen=True)
class LoraConfig:
    """The LoRA adapter, the same for all subsets so that one server can switch between them."""

    # rank of the update of each weight matrix
    rank: int = 16
    # scaling: the update is multiplied by alpha / rank
    alpha: int = 32
    # dropout probability of the adapter's input, in addition to the base's; none if objective.text_weight is below 1
    dropout: float = 0.1
    # names of the adapted layers, in every block
    targets: tuple[str, ...] = ("c_attn", "c_proj", "c_fc")

    def __post_init__(self) -> None:
        """Check the ranges."""
        require_positive(self, "lora.", "rank", "alpha")
        require(0 <= self.dropout < 1, "lora.dropout", self.dropout, "must be in [0, 1)")
        require(len(self.targets) > 0, "lora.targets", self.targets, "name at least one layer")


@dataclass(frozen=True)
class ObjectiveConfig:
    """What a subset's model learns: the header's words and the running text have separate weights."""

    # weight of the loss of the header's words, of which knowing the subset's value makes some certain
    header_weight: float = 1.0
    # weight of the running text's own words, from 0 to 1; the base's prediction of each word has the rest
    text_weight: float = 1.0

    def __post_init__(self) -> None:
        """Check the ranges."""
        weight = self.header_weight
        require(0 < weight < math.inf, "objective.header_weight", weight, "must be above 0 and finite")
        require(0 <= self.text_weight <= 1, "objective.text_weight", self.text_weight, "must be in [0, 1]")


@dataclass(frozen=True)
class FinetuneConfig:
    """The settings of fine-tuning."""

    # settings of pretraining that the help leaves out; without an annotation, because it is no setting
    REFUSED = ("training.keep_epochs", "training.character_ngrams")

    # generate: write reviews of one subset; classify: find the label of a review; embed: compare descriptions
    task: str = "generate"
    # classify: the column of the labels; numbers with many values, such as points, become bands
    label: str | None = None
    # classify: the number of bands, each with about as many training reviews
    bands: int = 4
    # lora trains an adapter, full trains all weights
    method: str = "lora"
    # folder of a finished pretraining run
    base: str = "runs/base"
    # the column that divides the reviews into subsets
    field: str = "variety"
    # the subset's value, in any case and with or without accents; all is every value with min_reviews
    value: str | None = None
    # short for --field variety --value
    variety: str | None = None
    # smallest number of reviews, over all splits, of a subset; classify: of training reviews of a label, not of a band
    min_reviews: int = 20
    data: ReviewsConfig = dataclasses.field(default_factory=ReviewsConfig)
    lora: LoraConfig = dataclasses.field(default_factory=LoraConfig)
    objective: ObjectiveConfig = dataclasses.field(default_factory=ObjectiveConfig)
    training: TrainingConfig = dataclasses.field(default_factory=TrainingConfig)
    # folder of all subsets: a folder for each, and the table of results
    output_dir: str = "runs/lora"
    # skip finished subsets and resume the others
    resume: bool = False
    # replace the subsets in output_dir
    overwrite: bool = False

    def __post_init__(self) -> None:
        """Check what does not need the data."""
        require_choice("method", self.method, METHODS)
        require(self.base != "", "base", self.base, "name the folder of a pretrained run")
        require(self.field != "", "field", self.field, "name a column")
        object.__setattr__(self, "field", column_name(self.field))
        both = self.variety is not None and (self.value is not None or self.field != "variety")
        require(not both, "variety", self.variety, "is short for field and value: set one or the other")
        require_choice("task", self.task, TASKS)
        if self.task == "classify":
            self._require_labels()
        else:
            require(self.label is None, "label", self.label, "is for --task classify only")
            require(self.bands == FinetuneConfig.bands, "bands", self.bands, "is for --task classify only")
        if self.task != "generate":
            own = f"--task {self.task} has an objective of its own: leave it out"
            require_defaults(self.objective, "objective", own)
        if self.task == "embed":
            every = "--task embed trains on all reviews: leave it out"
            self._require_no_subset(every)
            require(self.min_reviews == FinetuneConfig.min_reviews, "min_reviews", self.min_reviews, every)
            whole = "--task embed trains all weights: method full, as in finetune/embed.yaml"
            require(self.method == "full", "method", self.method, whole)
        if self.task == "generate":
            subset = 'name one, as in --variety "Pinot Noir", or all'
            require(bool((self.requested or "").strip()), "value", self.requested, subset)
        if self.method == "full":
            file = finetune_file(self.task, self.method)
            whole = f"--method full trains all weights and has no adapter: leave it out, as {file} does"
            require_defaults(self.lora, "lora", whole)
        require_positive(self, "", "min_reviews")
        for name in self.REFUSED:
            refused = getattr(self.training, name.removeprefix("training."))
            require(not refused, name, refused, "is for pretraining only")
        require_output(self)

    def _require_labels(self) -> None:
        column = "name the column of the labels, as in --label variety"
        require(bool(column_name(self.label or "")), "label", self.label, column)
        object.__setattr__(self, "label", column_name(self.label or ""))
        subset = f"--task classify learns all values of a column: --label {self.field}"
        self._require_no_subset(subset)
        whole = "--task classify trains all weights: method full, as in finetune/classify.yaml"
        require(self.method == "full", "method", self.method, whole)
        require(2 <= self.bands <= MOST_BANDS, "bands", self.bands, f"must be from 2 to {MOST_BANDS}")

    def _require_no_subset(self, advice: str) -> None:
        require(self.requested is None, "value", self.requested, advice)
        require(self.field == FinetuneConfig.field, "field", self.field, advice)

    @property
    def requested(self) -> str | None:
        """The requested value, from ``value`` or its short form ``variety``."""
        return self.value if self.variety is None else self.variety


def finetune_file(task: object, method: object) -> str:
    """Return the config of the package that fine-tuning reads if none is named."""
    if (task, method) == ("generate", "full"):
        return "finetune/full.yaml"
    return FINETUNE_FILES.get(str(task), FINETUNE_FILES["generate"])
