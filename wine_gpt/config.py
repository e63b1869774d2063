"""Every setting of wine_gpt: one frozen dataclass per module, one root per script, read from YAML and flags.

Nothing here imports torch, so ``--help`` and a wrong flag answer at once.
"""

import dataclasses
import difflib
import json
import typing
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import draccus
import yaml

from wine_gpt.errors import UserError, one_line

TRACKERS = ("tensorboard", "trackio", "wandb")
OPTIMIZERS = ("adamw", "muon")
PRECISIONS = ("auto", "no", "bf16", "fp16")
METHODS = ("lora", "full")
# what a text flag means when no value follows it; that of a yes or no means yes
BARE_FLAGS = {"resume": "latest"}

ConfigT = TypeVar("ConfigT")


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
            bool((self.wanted or "").strip()), "value", self.wanted, 'name one, as in --variety "Pinot Noir", or all'
        )
        require(self.min_reviews >= 1, "min_reviews", self.min_reviews, "must be at least 1")
        require(self.output_dir != "", "output_dir", self.output_dir, "name a folder")
        require(not (self.resume and self.overwrite), "overwrite", True, "can't go together with resume")

    @property
    def wanted(self) -> str | None:
        """The value that is asked for, by either name."""
        return self.value if self.variety is None else self.variety


def parse_config(
    config_class: type[ConfigT],
    arguments: Sequence[str],
    default_file: Path | None = None,
    defaults: Mapping[str, Any] | None = None,
) -> ConfigT:
    """Build a root config from ``[FILE.yaml] [--section.field value | --section.field=value] …``.

    Args:
        config_class: the root dataclass, whose fields are values or section dataclasses.
        arguments: the command line without the script's name.
        default_file: YAML file that is read when the command line names none.
        defaults: dotted keys and values that file and flags override.

    Raises:
        UserError: for a file that can't be read, an unknown key, a wrong type or an impossible value.
    """
    if {"-h", "--help"} & set(arguments):
        draccus.parse(config_class, args=["--help"], preferred_help="above")
    arguments = list(arguments)
    named = Path(arguments.pop(0)) if arguments and not arguments[0].startswith("-") else default_file
    types = dict(_leaf_types(config_class))
    values = dict(defaults or {}) | (_read_yaml(named, types) if named else {})
    values |= _read_flags(arguments, types)
    nested: dict[str, Any] = {}
    for key, value in values.items():
        *sections, name = key.split(".")
        target = nested
        for section in sections:
            target = target.setdefault(section, {})
        target[name] = value
    try:
        return typing.cast(ConfigT, draccus.decode(config_class, nested))
    except draccus.utils.DraccusException as error:
        if isinstance(error.__cause__, UserError):
            raise error.__cause__ from None
        raise UserError(f"config: {error}") from error


def data_settings(run: str | Path) -> dict[str, Any]:
    """Return the settings of the data that a run was trained on, as dotted keys and values.

    They are in the ``config.yaml`` of the run's folder, or, if it was fine-tuned, of its base's; without one, as on
    the Hub, there are none.

    Raises:
        UserError: if the file is no config of a run.
    """
    for folder in (Path(run), base_of(run)):
        if folder is not None and (folder / "config.yaml").is_file():
            types = {key: type_ for key, type_ in _leaf_types(PretrainConfig) if key.startswith("data.")}
            # the other sections may be those of another version
            return _read_yaml(folder / "config.yaml", types, sections=("data",))
    return {}


def base_of(folder: str | Path) -> Path | None:
    """Return what the folder's model was fine-tuned from, a folder or an id on the Hub; none if it wasn't.

    An adapter of PEFT names its base in ``adapter_config.json``, a whole model of ours in ``metrics.json``.

    Raises:
        UserError: if one of those files is no such thing.
    """
    for name, keys in (("adapter_config.json", ["base_model_name_or_path"]), ("metrics.json", ["base", "path"])):
        file = Path(folder) / name
        if file.is_file():
            try:
                value = json.loads(file.read_text(encoding="utf-8"))
            except ValueError as error:
                raise UserError(f"model: {file} is not JSON: {one_line(error)}") from error
            for key in keys:
                value = value.get(key) if isinstance(value, dict) else None
            if isinstance(value, str):
                return Path(value)
    return None


def to_yaml(config: object) -> str:
    """Return the whole config, defaults included, as YAML that :func:`parse_config` reads."""
    return yaml.safe_dump(draccus.encode(config), sort_keys=False, allow_unicode=True)


def to_flat(config: object) -> dict[str, Any]:
    """Return each setting's dotted key and value."""
    return dict(_flatten(draccus.encode(config), {}))


def _leaf_types(config_class: type, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield each value's dotted key and its type."""
    for name, annotation in typing.get_type_hints(config_class).items():
        if dataclasses.is_dataclass(annotation):
            yield from _leaf_types(typing.cast(type, annotation), f"{prefix}{name}.")
        else:
            yield prefix + name, annotation


def _read_yaml(path: Path, types: dict[str, Any], sections: Sequence[str] | None = None) -> dict[str, Any]:
    """Read a YAML config, or some sections of it, as dotted keys and values, of known keys and plausible types."""
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"config: can't read {path}: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"config: {path} is not YAML: {one_line(error)}") from error
    if not isinstance(content, dict | None):
        raise UserError(f"config: {path} must hold 'section: {{field: value}}', not {type(content).__name__}")
    read = {name: value for name, value in (content or {}).items() if sections is None or name in sections}
    values = dict(_flatten(read, types))
    for key, value in values.items():
        _require_known(key, types, str(path))
        if isinstance(value, bool) and types[key] is not bool:
            raise UserError(f"config: {path}: {key} is {value}: YAML reads yes, no, on and off so; use quotes")
        if typing.get_origin(types[key]) is tuple and not isinstance(value, list):
            raise UserError(f"config: {path}: {key} is {value!r}: must be a list, [a, b]")
    return values


def _flatten(content: dict[Any, Any], types: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in content.items():
        key = f"{prefix}{name}"
        if isinstance(value, dict) and key not in types:
            yield from _flatten(value, types, f"{key}.")
        else:
            yield key, value


def _read_flags(arguments: Sequence[str], types: dict[str, Any]) -> dict[str, Any]:
    """Read ``--key value`` pairs; a bare ``--resume`` or bool flag stands for its usual value."""
    values: dict[str, Any] = {}
    waiting = list(arguments)
    while waiting:
        flag, equals, text = waiting.pop(0).partition("=")
        if not flag.startswith("--"):
            raise UserError(f"command line: {flag!r} is no flag; a flag reads --section.field value")
        key = flag[2:]
        _require_known(key, types, "command line")
        if not equals:
            bare = "true" if types[key] is bool else BARE_FLAGS.get(key)
            if waiting and not waiting[0].startswith("--"):
                text = waiting.pop(0)
            elif bare is not None:
                text = bare
            else:
                raise UserError(f"command line: {flag} needs a value")
        values[key] = _from_text(text, types[key])
    return values


def _from_text(text: str, annotation: Any) -> Any:  # noqa: ANN401 - any type that a field may have
    """Take a flag's text literally where text is wanted, else as YAML, so that numbers read as in a file."""
    if text == "null" and type(None) in typing.get_args(annotation):
        return None
    if typing.get_origin(annotation) is tuple:
        return [item.strip() for item in text.strip("[]").split(",") if item.strip()]
    if annotation is str or str in typing.get_args(annotation):
        return text
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
        return text


def _require_known(key: str, types: dict[str, Any], where: str) -> None:
    if key not in types:
        nearest = difflib.get_close_matches(key, types, n=1, cutoff=0.5)
        hint = f"did you mean {nearest[0]}?" if nearest else f"known are {', '.join(types)}"
        raise UserError(f"config: {where}: unknown key {key}; {hint}")
