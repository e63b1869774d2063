"""Fill the cards of the Spaces, the Gradio demo and the explorer, whose metadata configures them on the Hub."""

from collections.abc import Sequence
from pathlib import Path

from huggingface_hub import SpaceCard, SpaceCardData

from wine_gpt.markdown import escape
from wine_gpt.publishing.card_parts import SHORT_DESCRIPTION_LENGTH, fill_card, subject_tags
from wine_gpt.publishing.explorer import EXPLORER
from wine_gpt.publishing.published_files import SPACE_THUMBNAIL
from wine_gpt.publishing.run_record import RunRecord
from wine_gpt.publishing.source import source_url

# the Python version of the Space, and of one on ZeroGPU
PYTHON_VERSION, ZERO_GPU_PYTHON_VERSION = "3.11", "3.12"


def space_card(
    run: RunRecord,
    readme: Path,
    name: str,
    models: Sequence[str],
    has_adapters: bool = False,
    zero_gpu: bool = False,
) -> SpaceCard:
    """Return the demo's card, whose metadata configures the Space on the Hub.

    Args:
        run: of the model that the demo loads.
        readme: the demo's README.md, for its metadata.
        name: of the demo's repository.
        models: the model's repository, and those of the models that were fine-tuned from it.
        has_adapters: whether some of these are LoRA adapters; the demo loads no other fine-tuned models.
        zero_gpu: whether the Space runs on ZeroGPU.
    """
    corpus, prefix, model = run.corpus, run.template.prefix, models[0]
    data = SpaceCardData(
        **{
            **SpaceCard.load(readme).data.to_dict(),
            "title": model.split("/")[1],
            **({} if corpus.wine else _neutral_metadata(prefix)),
            "python_version": ZERO_GPU_PYTHON_VERSION if zero_gpu else PYTHON_VERSION,
            "thumbnail": _thumbnail(readme.parent, name),
            "models": list(models),
            "datasets": [corpus.dataset] if corpus.dataset else None,
            "tags": ["text-generation", "gpt2", *subject_tags(corpus)],
        }
    )
    return fill_card(
        SpaceCard,
        data,
        "space.md",
        name=name,
        model=model,
        has_adapters=has_adapters,
        corpus=corpus,
        source=source_url() or "",
        prefix=escape(prefix),
    )


def explorer_card(run: RunRecord, name: str, models: Sequence[str]) -> SpaceCard:
    """Return the card of the explorer's static Space, whose metadata configures it on the Hub.

    Args:
        run: of the model that the explorer loads.
        name: the Space's repository.
        models: see :func:`space_card`.
    """
    corpus, model = run.corpus, models[0]
    data = SpaceCardData(
        title=f"Look inside {model.split('/')[1]}",
        emoji="🍷" if corpus.wine else "📝",
        colorFrom="pink",
        colorTo="red",
        sdk="static",
        app_file="index.html",
        thumbnail=_thumbnail(EXPLORER, name),
        license="apache-2.0",
        short_description="A small GPT-2 in your browser, and each of its numbers",
        models=list(models),
        datasets=[corpus.dataset] if corpus.dataset else None,
        tags=["text-generation", "gpt2", "interpretability", *subject_tags(corpus)],
    )
    values = {"name": name, "model": model, "corpus": corpus, "source": source_url() or ""}
    return fill_card(SpaceCard, data, "explorer.md", **values)


def _thumbnail(demo: Path, name: str) -> str | None:
    """Return the address of the demo's picture, if it has one."""
    address = f"https://huggingface.co/spaces/{name}/resolve/main/{SPACE_THUMBNAIL}"
    return address if (demo / SPACE_THUMBNAIL).is_file() else None


def _neutral_metadata(prefix: str) -> dict[str, str]:
    """Return the metadata that the demo's README.md has in wine's words, for another corpus."""
    named = f"A small GPT-2 writes “{prefix}” texts and shows its attention"
    short = (
        named
        if prefix and len(named) <= SHORT_DESCRIPTION_LENGTH
        else "A small GPT-2 writes texts and shows its attention"
    )
    return {"emoji": "📝", "short_description": short}
