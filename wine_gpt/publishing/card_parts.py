"""What the cards have in common: metadata, samples, commands, the check before publishing, and the templates."""

import json
import math
import re
import shlex
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any, TypeVar

from huggingface_hub import CardData, EvalResult, RepoCard
from jinja2 import Environment as TemplateEnvironment
from jinja2 import FileSystemLoader, StrictUndefined

from wine_gpt.config import GenerationDefaults
from wine_gpt.data.template import ReviewTemplate
from wine_gpt.errors import UserError
from wine_gpt.markdown import code, escape, fenced
from wine_gpt.modeling.scoring import Score
from wine_gpt.publishing.card_tables import GRAMS_PER_KWH, grams_of_co2
from wine_gpt.publishing.corpus import Corpus
from wine_gpt.publishing.hub import MAIN
from wine_gpt.publishing.licenses import NOTHING_PERMITTED, UNKNOWN
from wine_gpt.publishing.run_record import DOWNLOADS, RunRecord
from wine_gpt.publishing.samples import SEED, Sample
from wine_gpt.publishing.source import source_url
from wine_gpt.tokenizer.schemes import BPE, CHARACTERS, WORDS
from wine_gpt.training.record import Environment, TrainingSummary
from wine_gpt.version import __version__

CardT = TypeVar("CardT", bound=RepoCard)

TEMPLATES = Path(__file__).parent / "templates"
# the tag of each kind of tokenizer
TOKENIZER_TAGS = {WORDS: "word-level", CHARACTERS: "character-level", BPE: "bpe"}
# stands for a line break of a template's value, which is kept; no text has a NUL
VALUES_LINE_BREAK = "\0"
# the Hub's limit, in characters
SHORT_DESCRIPTION_LENGTH = 60


def check(card: RepoCard, title: str) -> None:
    """Check a card's metadata without the Hub.

    Raises:
        UserError: if the Hub would refuse the metadata.
    """
    data = card.data.to_dict()
    for name, value in data.items():
        if value in ("", [], {}):
            raise UserError(f"{title}: the card's {name} is empty")
    if len(data.get("short_description", "")) > SHORT_DESCRIPTION_LENGTH:
        raise UserError(f"{title}: short_description has more than {SHORT_DESCRIPTION_LENGTH} characters")


def license_notice(run: RunRecord) -> str:
    """Return the LICENSE file of a repository with weights."""
    corpus, license = run.corpus, run.corpus.license
    source = f" ({corpus.page})" if corpus.page else ""
    lines = [f"The weights and the vocabulary in this repository were learned from {corpus.name}{source}."]
    if corpus.creator:
        lines.append(f"{corpus.creator} made that dataset {corpus.made_from}.")
        lines.append(f"It is licensed under {license.name}, and so are the weights and the vocabulary.")
    elif license.id == UNKNOWN:
        lines.append(NOTHING_PERMITTED)
    else:
        lines.append(f"They are licensed under {license.name}.")
    lines += [corpus.conditions] if corpus.conditions else []
    return "\n".join([*lines, *([f"The text of the license: {license.url}"] if license.url else [])]) + "\n"


# Any: the metadata's values are texts, lists and None
def shared_metadata(run: RunRecord, samples: Sequence[Sample], *tags: str) -> dict[str, Any]:
    """Return the metadata that all models have; None drops a key."""
    corpus, tokenizer_tag = run.corpus, TOKENIZER_TAGS.get(run.tokenizer_kind or "")
    license = corpus.license
    named = {"license_name": license.name, "license_link": license.url} if license.id == "other" else {}
    return {
        "language": list(corpus.languages) or None,
        "license": license.id,
        **named,
        "datasets": [corpus.dataset] if corpus.dataset else None,
        "metrics": ["perplexity"],
        "tags": ["gpt2", *filter(None, [tokenizer_tag]), *tags, *subject_tags(corpus)],
        "widget": [
            {"text": sample.prompt, "output": {"text": sample.text}} for sample in _distinct(samples) if sample.prompt
        ]
        or None,
    }


def _distinct(samples: Sequence[Sample]) -> list[Sample]:
    """Return the first sample of each prompt."""
    first: dict[str, Sample] = {}
    for sample in samples:
        first.setdefault(sample.prompt, sample)
    return list(first.values())


def subject_tags(corpus: Corpus) -> list[str]:
    """Return the tags of the corpus's subject."""
    return [tag for tag, applies in (("wine", corpus.wine), ("synthetic", corpus.synthetic)) if applies]


def eval_results(corpus: Corpus, score: Score | None, data_name: str) -> list[EvalResult] | None:
    """Return the results for the Hub's model index; None without finite figures."""
    if score is None or not math.isfinite(score.perplexity):
        return None
    figures = (
        ("perplexity", "Perplexity", round(score.perplexity, 2)),
        ("nats_per_word", "Nats per word", round(score.nats_per_word, 3)),
    )
    return hub_results(corpus, data_name, "text-generation", "Text generation", figures)


def hub_results(
    corpus: Corpus, data_name: str, task: str, task_name: str, figures: Sequence[tuple[str, str, float]]
) -> list[EvalResult]:
    """Return figures on the test split, each a type, a name and a value, for the Hub's model index."""
    return [
        EvalResult(
            task_type=task,
            task_name=task_name,
            dataset_type=corpus.dataset_type,
            dataset_name=data_name,
            dataset_config=corpus.config,
            dataset_split="test",
            metric_type=metric,
            metric_name=name,
            metric_value=value,
        )
        for metric, name, value in figures
    ]


def emissions(training: TrainingSummary, environment: Environment, kind: str) -> dict[str, str | float] | None:
    """Return the emissions in grams, as the Hub's metadata has them; None if no energy was measured."""
    if not training.energy_kwh:
        return None
    return {
        "emissions": float(f"{grams_of_co2(training.energy_kwh):.2g}"),
        "source": f"energy estimated by codecarbon, at the world's average of {GRAMS_PER_KWH} g per kWh",
        "training_type": kind,
        "hardware_used": environment.device,
    }


def shared_values(run: RunRecord, name: str, revision: str, samples: Sequence[Sample]) -> dict[str, object]:
    """Return the values that the templates of all models have."""
    source = source_url()
    return {
        "name": name,
        "title": name.split("/")[1],
        "revision": revision_argument(revision),
        "corpus": run.corpus,
        "corpus_name": escape(run.corpus.name),
        "form": _form(run.template),
        "texts": _texts(run),
        "temperature": sampling_arguments(run.generation),
        "sampling": ", ".join([*_sampling(run.generation), f"seed={SEED}"]),
        "samples": _samples_by_prompt(samples),
        "version": run.metrics.environment.packages.get("wine_gpt") or __version__,
        "source": source or "",
        "package": f"[wine_gpt]({source})" if source else "the Python package wine_gpt",
        "has_own_data": run.data_source.is_local,
    }


def _form(template: ReviewTemplate) -> str:
    """Return what a text of the template looks like, and what its header is."""
    pattern = code(template.render({column: column for column in template.columns}))
    form, text = f"A text has the form {pattern}.", code(template.text_field)
    return (
        f"{form} The part before {text} is the *header*, and {text} is the *running text*."
        if template.fields
        else form
    )


def _samples_by_prompt(samples: Sequence[Sample]) -> list[tuple[str, list[str]]]:
    """Return each prompt's label with its texts as code blocks."""
    prompts = dict.fromkeys(sample.prompt for sample in samples)
    return [
        (_prompt_label(prompt), [fenced(sample.text) for sample in samples if sample.prompt == prompt])
        for prompt in prompts
    ]


def _prompt_label(prompt: str) -> str:
    return f"Prompt {code(prompt)}:" if prompt else "Empty prompt:"


def _texts(run: RunRecord) -> str:
    """Return what the model writes, in words."""
    prefix = run.template.prefix
    return "wine reviews" if run.corpus.wine else f"texts that begin with {code(prefix)}" if prefix else "texts"


def string(text: str) -> str:
    """Return a string in Python's and JavaScript's notation."""
    return json.dumps(text, ensure_ascii=False)


def revision_argument(revision: str) -> str:
    """Return a branch as one more argument of a call in Python; empty for the main branch."""
    return "" if revision == MAIN else f", revision={string(revision)}"


def sampling_arguments(generation: GenerationDefaults) -> str:
    """Return the sampling settings as more arguments of a call.

    The temperature is named because pipelines of transformers 4.52 to 5.12 use their own.
    """
    return "".join(f", {setting}" for setting in _sampling(generation))


def _sampling(generation: GenerationDefaults) -> list[str]:
    settings = [f"temperature={generation.temperature:g}"]
    if generation.top_p < 1:
        settings.append(f"top_p={generation.top_p:g}")
    if generation.top_k > 0:
        settings.append(f"top_k={generation.top_k}")
    return settings


def counted(number: int, noun: str) -> str:
    """Return a number and its noun, such as "1 layer" or "2 layers"."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def repeat_command(
    run: RunRecord,
    downloads: Sequence[str],
    script: str,
    training: TrainingSummary,
    environment: Environment,
    extras: Collection[str] = (),
) -> dict[str, str]:
    """Return how to install wine_gpt and to train again, for the template ``reproduce.md``.

    Args:
        run: of the base model.
        downloads: commands that download the config and the base.
        script: the script and its config.
        training: of the training to repeat.
        environment: of that training.
        extras: the optional dependencies that the script needs; those of the data are added.
    """
    needed = ",".join(sorted({*extras, *(["kaggle"] if run.config.data.path == "kaggle" else [])}))
    install = f'pip install -e ".[{needed}]"' if needed else "pip install -e ."
    source = source_url()
    clone = [f"git clone {source} wine_gpt", "cd wine_gpt", install] if source else []
    train = train_command(run, script, training, environment)
    return {"install": install, "command": "\n".join([*clone, *downloads, train])}


def train_command(run: RunRecord, script: str, training: TrainingSummary, environment: Environment) -> str:
    """Return the command that trains again; see :func:`repeat_command`."""
    return f"{_launcher(training, environment)} {script}{' --data.path FILE' if run.data_source.is_local else ''}"


def download(name: str, revision: str, *files: str) -> str:
    """Return the command that downloads files, by default all, of a repository to :func:`download_folder`."""
    branch = [] if revision == MAIN else ["--revision", revision]
    return shlex.join(["hf", "download", name, *files, *branch, "--local-dir", download_folder(name)])


def download_folder(name: str) -> str:
    """Return the folder that the card's commands download a repository to."""
    return f"{DOWNLOADS}/{name.split('/')[1]}"


def _launcher(training: TrainingSummary, environment: Environment) -> str:
    """Return the beginning of a command with as many processes and threads as a run had."""
    is_cpu = environment.device.startswith("cpu")
    threads = f"OMP_NUM_THREADS={environment.threads} " if is_cpu else ""
    if training.processes == 1:
        return f"{threads}python"
    config = f"configs/accelerate/{'cpu_processes' if is_cpu else 'gpus'}.yaml"
    return f"{threads}accelerate launch --config_file {config} --num_processes {training.processes}"


# Any: a template's values are texts, lists, booleans and a Corpus
def fill_card(kind: type[CardT], data: CardData, template: str, **values: Any) -> CardT:  # noqa: ANN401
    """Return a card with the metadata and the filled template."""
    return kind(fill(template, card_data=data.to_yaml(), **values))


def fill(template: str, **values: Any) -> str:  # noqa: ANN401
    """Fill a template of :data:`TEMPLATES`.

    Values are not searched for placeholders, because a text of the corpus may look like one.

    Raises:
        jinja2.UndefinedError: if a value is missing.
        ValueError: if a value would be printed as None or nan.
    """
    environment = TemplateEnvironment(
        loader=FileSystemLoader(TEMPLATES),
        undefined=StrictUndefined,
        finalize=_finalize,
        keep_trailing_newline=True,
    )
    content = environment.get_template(template).render(values)
    # sections that are left out leave blank lines
    content = re.sub(r"\n{3,}", "\n\n", content)
    return content.replace(VALUES_LINE_BREAK, "\n").rstrip() + "\n"


def _finalize(value: object) -> object:
    """Mark the line breaks of a value, and raise for one that a template would print as None or nan."""
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        raise ValueError(f"a card's template has no text for {value}")
    return value.replace("\n", VALUES_LINE_BREAK) if isinstance(value, str) else value
