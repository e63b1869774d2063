"""Write the folder of each repository to publish: the run, its fine-tuned models and the demo, each with its card.

Only the files that published_files.py lists are published, because a run's folder also holds checkpoints, logs and a
user's own files.
"""

import dataclasses
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from transformers import PreTrainedModel, PreTrainedTokenizerFast

from wine_gpt.command_names import sibling_command
from wine_gpt.config import ZERO_GPU
from wine_gpt.data import text_form
from wine_gpt.data.reviews import texts
from wine_gpt.errors import UserError
from wine_gpt.evaluation import ngram_filter
from wine_gpt.evaluation.ngram_index import build_index
from wine_gpt.files import read_json, sha256, write_json
from wine_gpt.generation import prompts, sampler
from wine_gpt.installation import bundled
from wine_gpt.modeling.pretrained import load_model, load_model_and_tokenizer
from wine_gpt.publishing import explorer_files
from wine_gpt.publishing.card_parts import check, license_notice
from wine_gpt.publishing.classifier_card import (
    CLASSIFIER_FILES,
    ClassifierRecord,
    classifier_card,
    holds_classifier,
    read_classifier,
)
from wine_gpt.publishing.explorer import epoch_files, page_files
from wine_gpt.publishing.hub import MAIN, StagedRepo, StagedRepos
from wine_gpt.publishing.kept import NOTHING_KEPT, Kept
from wine_gpt.publishing.model_card import OPTIONAL_FILES, model_card
from wine_gpt.publishing.notebook import model_notebook
from wine_gpt.publishing.publication import Publication, require_id
from wine_gpt.publishing.published_files import (
    ADAPTER_FILES,
    BASE_FILES,
    CARD,
    FINETUNED_FILES,
    LICENSE,
    MODEL_FILES,
    NGRAM_INDEX,
    NOTEBOOK,
    ONNX,
    ONNX_QUANTIZED,
    PUBLISHED_FINETUNE_CONFIG,
    SPACE_SETTINGS,
    SPACE_SUFFIXES,
    TOKENIZER_FILES,
    files_below,
)
from wine_gpt.publishing.run_record import RunRecord, SubsetModel, read_run, read_subset_models, require_no_embeddings
from wine_gpt.publishing.samples import TEXTS, Sample, example_prompt, sample_model, sample_texts
from wine_gpt.publishing.source import source_url
from wine_gpt.publishing.space_cards import explorer_card, space_card
from wine_gpt.publishing.subset_card import subset_card, subset_prompt
from wine_gpt.run_folder import CONFIG, EPOCHS, EVALUATION, METRICS, TOKENIZER_CONFIG
from wine_gpt.tokenizer import load_tokenizer, words
from wine_gpt.training.epoch_weights import read_index

STAGED_FOLDERS = ("models", "spaces", "static_spaces")
# the newest torch that ZeroGPU has, and the package of its decorator
ZERO_GPU_REQUIREMENTS = ("torch==2.11.0", "spaces")
REQUIREMENTS = "requirements.txt"
# the demo's sources
SPACE = bundled("space")
# modules of the package that the demo imports
SHARED_MODULES = tuple(
    Path(str(module.__file__)) for module in (explorer_files, ngram_filter, prompts, sampler, text_form, words)
)


@dataclass(frozen=True)
class LeftOut:
    """What is not published: one line that says why, and which file of the model's repository, if it is one."""

    reason: str
    file: str | None = None


@dataclass(frozen=True)
class StagedFiles:
    """All files to publish except the cards, which also describe what an earlier publish left on the Hub.

    Attributes:
        publication: what to publish.
        folder: has ``models/org/name`` or ``spaces/org/name`` for each repository.
        run: of the model.
        samples: of the model.
        subset_models: the fine-tuned models to publish.
        subset_samples: of each fine-tuned model.
        left_out: each fine-tuned model, file, link or section that is left out.
        classifier: what is published in place of the run's model, which is its base; None for a run.
    """

    publication: Publication
    folder: Path
    run: RunRecord
    samples: Sequence[Sample]
    subset_models: Sequence[SubsetModel]
    subset_samples: Sequence[Sequence[Sample]]
    left_out: tuple[LeftOut, ...]
    classifier: ClassifierRecord | None = None


def stage(publication: Publication, folder: Path) -> StagedFiles:
    """Write the folder of each repository, without its card.

    Args:
        publication: what to publish.
        folder: empty.

    Raises:
        UserError: if the run, the fine-tuned models, the demo or a name is wrong.
    """
    require_no_embeddings(publication.run)
    if holds_classifier(publication.run):
        return _stage_classifier(publication, folder)
    run = read_run(publication.run, publication.own_corpus)
    samples = sample_model(*_load(run), run.template)
    subset_models: list[SubsetModel] = []
    not_better: list[str] = []
    if publication.adapters:
        subset_models, not_better = read_subset_models(publication.adapters, run, publication.repo)
    for subset_model in subset_models:
        require_id("--adapters", subset_model.repository)
    model_folder = _new_folder(folder, "model", publication.repo)
    left_out = [LeftOut(line) for line in (*not_better, *_left_out_of_card(run))]
    left_out += _stage_index(publication, run, model_folder / NGRAM_INDEX)
    _stage_model(publication, run, model_folder, example_prompt(samples, run.template))
    subset_samples = [_stage_subset(publication, run, subset_model, folder) for subset_model in subset_models]
    _stage_spaces(publication, run, folder)
    return StagedFiles(publication, folder, run, samples, subset_models, subset_samples, tuple(left_out))


def _stage_classifier(publication: Publication, folder: Path) -> StagedFiles:
    """Write the folder of a classifier, without its card."""
    given = [name for name in ("adapters", "space", "onnx", "index", "epochs") if getattr(publication, name)]
    if given:
        raise UserError(f"--{given[0]}: {publication.run} is a classifier, which is published alone: leave it out")
    classifier, run = read_classifier(publication.run, publication.own_corpus)
    name = publication.repo
    target = _new_folder(folder, "model", name)
    _copy(classifier.folder, target, (*CLASSIFIER_FILES, *TOKENIZER_FILES))
    (target / CONFIG).write_text(run.config_yaml(name), encoding="utf-8")
    (target / PUBLISHED_FINETUNE_CONFIG).write_text(classifier.config_yaml(name), encoding="utf-8")
    (target / LICENSE).write_text(license_notice(run), encoding="utf-8")
    write_json(target / METRICS, classifier.published_metrics())
    return StagedFiles(publication, folder, run, (), (), (), (), classifier)


def write_cards(staged: StagedFiles, kept: Kept = NOTHING_KEPT, with_space: bool = True) -> StagedRepos:
    """Write the card of each staged repository, or replace it.

    Args:
        staged: the other files.
        kept: what an earlier publish has uploaded and this one keeps; the cards describe it too.
        with_space: whether to publish the demo; if not, no card links it.

    Raises:
        UserError: if a card is wrong.
    """
    publication = staged.publication if with_space else dataclasses.replace(staged.publication, space=None)
    subset_models = []
    for subset_model, samples in zip(staged.subset_models, staged.subset_samples, strict=True):
        card = subset_card(staged.run, subset_model, publication.repo, publication.revision, samples)
        folder = _folder(staged.folder, "model", subset_model.repository)
        subset_models.append(publication.staged_model(subset_model.repository, folder, card, FINETUNED_FILES))
    model, spaces = _model_repo(staged, publication, kept), _space_repos(staged, publication, kept)
    repositories = StagedRepos(model, tuple(subset_models), tuple(spaces))
    for repo in repositories:
        repo.card.save(repo.folder / CARD)
        check(repo.card, repo.title)
    return repositories


def _left_out_of_card(run: RunRecord) -> list[str]:
    lines = []
    if source_url() is None:
        lines.append("the cards have no link to the source code: pyproject.toml has no project.urls.Repository")
    if run.evaluation is None:
        command = sibling_command("score", str(run.folder))
        is_other = (run.folder / EVALUATION / METRICS).is_file()
        lines.append(
            f"the evaluation is left out: it is of other reviews or sampling settings; {command} makes it again"
            if is_other
            else f"the card has no evaluation of the generated texts: {command} adds it"
        )
    return lines


def _model_repo(staged: StagedFiles, publication: Publication, kept: Kept) -> StagedRepo:
    run, name = staged.run, publication.repo
    folder = _folder(staged.folder, "model", name)
    if staged.classifier:
        card = classifier_card(run, staged.classifier, name, publication.revision)
        return publication.staged_model(name, folder, card, FINETUNED_FILES)
    optional = [file for file in OPTIONAL_FILES if (folder / file).exists() or file in kept.files]
    card = model_card(
        run,
        name,
        publication.revision,
        staged.samples,
        space=publication.space or kept.space,
        subset_models=staged.subset_models,
        optional_files=optional,
        kept=kept,
    )
    managed = (file for file in BASE_FILES if file not in kept.files)
    return publication.staged_model(name, folder, card, tuple(managed))


def _space_repos(staged: StagedFiles, publication: Publication, kept: Kept) -> list[StagedRepo]:
    run, name = staged.run, publication.space
    if name is None:
        return []
    models = [publication.repo, *(model.repository for model in staged.subset_models), *kept.fine_tuned]
    has_adapters = bool(kept.adapters) or any(model.is_adapter for model in staged.subset_models)
    repositories = []
    if "gradio" in publication.staged_sdks:
        zero_gpu = publication.space_hardware == ZERO_GPU
        card = space_card(run, SPACE / CARD, name, models, has_adapters, zero_gpu)
        folder = _folder(staged.folder, "space", name)
        repositories.append(publication.staged_space(name, folder, card, "gradio"))
    if "static" in publication.staged_sdks:
        card = explorer_card(run, name, models)
        folder = _folder(staged.folder, "static_space", name)
        repositories.append(publication.staged_space(name, folder, card, "static"))
    return repositories


def _stage_model(publication: Publication, run: RunRecord, target: Path, prompt: str) -> None:
    name = publication.repo
    plots = tuple(file for _, file in run.plots)
    _copy(run.folder, target, (*MODEL_FILES, *plots))
    _stage_tokenizer(run.folder, target, run)
    run.template.save(target)
    (target / CONFIG).write_text(run.config_yaml(name), encoding="utf-8")
    (target / LICENSE).write_text(license_notice(run), encoding="utf-8")
    # the settings are in the config
    write_json(target / METRICS, dataclasses.replace(run.metrics, settings=None).to_dict())
    write_json(target / NOTEBOOK, model_notebook(name, publication.revision, prompt, run.generation))
    if run.evaluation:
        (target / EVALUATION).mkdir(exist_ok=True)
        write_json(target / EVALUATION / METRICS, dataclasses.replace(run.evaluation, model=name).to_dict())
    if publication.onnx:
        from wine_gpt.publishing.onnx_export import export, quantize

        export(run.folder, target / ONNX)
        quantize(target / ONNX, target / ONNX_QUANTIZED)
    if publication.epochs:
        _copy(run.folder, target, _kept_epochs(run.folder))


def _stage_tokenizer(source: Path, target: Path, run: RunRecord) -> None:
    """Copy a tokenizer, and limit its texts to the model's positions, of which one is left for the next word."""
    _copy(source, target, TOKENIZER_FILES)
    config = read_json(target / TOKENIZER_CONFIG)
    write_json(target / TOKENIZER_CONFIG, {**config, "model_max_length": run.shape.n_positions - 1})


def _kept_epochs(run: Path) -> tuple[str, ...]:
    """Return the files of a run's epochs, by their path in the run.

    Raises:
        UserError: if the run kept none, or one is missing or damaged.
    """
    epochs = read_index(run / EPOCHS)
    if not epochs:
        raise UserError(
            f"--epochs: {run} kept no epochs: train it with training.keep_epochs, as configs/sample.yaml does"
        )
    for epoch in epochs:
        file = run / EPOCHS / epoch.file
        if not file.is_file() or sha256(file) != epoch.sha256:
            raise UserError(f"--epochs: {file} is missing or damaged: publish without --epochs, or train again")
    return tuple(epoch_files(run))


def _stage_index(publication: Publication, run: RunRecord, file: Path) -> list[LeftOut]:
    """Write the index of training spans if it is wanted, or return why it is left out.

    Raises:
        UserError: if the option asks for the index, and it can't be made.
    """
    wanted = run.corpus.is_public if publication.index is None else publication.index
    if not wanted:
        reason = "whoever knows 12 words in a row could check that they were trained on; the option index adds it"
        return [LeftOut(f"{NGRAM_INDEX} is left out: {reason}", NGRAM_INDEX)]
    try:
        write_index(run, file)
    except UserError as error:
        if publication.index:
            raise UserError(f"--index: {error}") from error
        return [LeftOut(f"{NGRAM_INDEX} is left out: {error}", NGRAM_INDEX)]
    return []


def write_index(run: RunRecord, file: Path) -> None:
    """Write the index of training spans, with which the demo marks copied spans.

    Raises:
        UserError: if the training texts can't be read, are no longer the run's, or are too short.
    """
    reviews = run.data_source.load()
    if reviews.fingerprint != run.metrics.data_fingerprint:
        raise UserError(f"{run.data_source.published_path} no longer has the training texts of the run")
    build_index(texts(reviews.splits["train"], run.template.text_field), file)


def _stage_subset(publication: Publication, run: RunRecord, subset_model: SubsetModel, folder: Path) -> list[Sample]:
    """Write the files of a fine-tuned model, and return texts that it generated."""
    target = _new_folder(folder, "model", subset_model.repository)
    weights = ADAPTER_FILES if subset_model.is_adapter else MODEL_FILES
    _copy(subset_model.folder, target, weights)
    _stage_tokenizer(subset_model.folder, target, run)
    run.template.save(target)
    if subset_model.is_adapter:
        config = {**read_json(target / ADAPTER_FILES[0]), "base_model_name_or_path": publication.repo}
        if publication.revision != MAIN:
            # peft loads the base at this revision
            config["revision"] = publication.revision
        write_json(target / ADAPTER_FILES[0], config)
    (target / PUBLISHED_FINETUNE_CONFIG).write_text(subset_model.config_yaml(publication.repo), encoding="utf-8")
    # the settings are in the config
    metrics = subset_model.metrics
    base = dataclasses.replace(metrics.base, path=publication.repo)
    write_json(target / METRICS, dataclasses.replace(metrics, base=base, settings=None).to_dict())
    (target / LICENSE).write_text(license_notice(run), encoding="utf-8")
    model = load_model(subset_model.folder, run.folder)
    return sample_texts(model, load_tokenizer(subset_model.folder), [subset_prompt(run, metrics)] * TEXTS)


def _stage_spaces(publication: Publication, run: RunRecord, folder: Path) -> None:
    """Write the files of the Gradio app, of the explorer, or of both if the Space's kind is not chosen yet."""
    name, revision = publication.space, None if publication.revision == MAIN else publication.revision
    if name is None:
        return
    if "gradio" in publication.staged_sdks:
        if not (SPACE / "app.py").is_file() or not (SPACE / CARD).is_file():
            raise UserError(f"--space: no demo at {SPACE}: install wine_gpt again")
        target = _new_folder(folder, "space", name)
        copy_demo(target)
        if publication.space_hardware == ZERO_GPU:
            _pin_for_zero_gpu(target / REQUIREMENTS)
        write_json(target / SPACE_SETTINGS, {"model": publication.repo + (f"@{revision}" if revision else "")})
    if "static" in publication.staged_sdks:
        target = _new_folder(folder, "static_space", name)
        _copy_files(page_files(), target)
        language = next(iter(run.corpus.languages), None)
        settings = {"model": publication.repo, "revision": revision, "language": language}
        write_json(target / SPACE_SETTINGS, {name: value for name, value in settings.items() if value})


def _pin_for_zero_gpu(requirements: Path) -> None:
    """Replace torch in the demo's requirements by what ZeroGPU has."""
    lines = requirements.read_text(encoding="utf-8").splitlines()
    others = [line for line in lines if not line.startswith("torch==")]
    requirements.write_text("\n".join([*others, *ZERO_GPU_REQUIREMENTS]) + "\n", encoding="utf-8")


def copy_demo(target: Path) -> None:
    """Copy the demo's files, and the modules of the package that it imports."""
    _copy_files({**files_below(SPACE, SPACE_SUFFIXES), **{file.name: file for file in SHARED_MODULES}}, target)


def _folder(folder: Path, kind: str, name: str) -> Path:
    return folder / f"{kind}s" / name


def _new_folder(folder: Path, kind: str, name: str) -> Path:
    target = _folder(folder, kind, name)
    target.mkdir(parents=True)
    return target


def _copy(source: Path, target: Path, names: tuple[str, ...]) -> None:
    _copy_files({name: source / name for name in names}, target)


def _copy_files(files: Mapping[str, Path], target: Path) -> None:
    """Copy files to their paths in the target."""
    for name, file in files.items():
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, target / name)


def _load(run: RunRecord) -> tuple[PreTrainedModel, PreTrainedTokenizerFast]:
    """Load model and tokenizer, and check that they have vocabularies of equal size."""
    model, tokenizer = load_model_and_tokenizer(run.folder)
    entries, embeddings = len(tokenizer), model.config.vocab_size
    if entries != embeddings:
        raise UserError(
            f"{run.folder}: the tokenizer has {entries:,} words, the model {embeddings:,}: they do not fit together"
        )
    return model, tokenizer
