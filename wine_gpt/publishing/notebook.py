"""The notebook of a model's repository, which the Hub offers to open in Colab and Kaggle."""

from wine_gpt.config import GenerationDefaults
from wine_gpt.files import JsonObject
from wine_gpt.publishing.card_parts import revision_argument, sampling_arguments, string

INTRODUCTION = """\
# {name}

Write a text with the model, list the likeliest next words, and see which earlier words the model attends to."""

INSTALL = "%pip install -q transformers torch"

WRITE = """\
from transformers import pipeline

write = pipeline("text-generation", model={model}{revision})
print(write({prompt}{sampling})[0]["generated_text"])"""

NEXT_WORDS = """\
inputs = write.tokenizer({prompt}, return_tensors="pt").to(write.device)
probabilities = write.model(**inputs).logits[0, -1].softmax(-1)
for probability, token in zip(*probabilities.topk(10)):
    print(f"{{probability:6.1%}} {{write.tokenizer.decode(token)}}")"""

ATTENTION = """\
# the mean over all layers and heads, from the position that predicts the next word
write.model.set_attn_implementation("eager")
layers = write.model(**inputs, output_attentions=True).attentions
weights = sum(layer[0, :, -1].mean(0) for layer in layers) / len(layers)
for weight, token in zip(weights, inputs["input_ids"][0]):
    print(f"{{weight:6.1%}} {{write.tokenizer.convert_ids_to_tokens(int(token))}}")"""


def model_notebook(name: str, revision: str, prompt: str, generation: GenerationDefaults) -> JsonObject:
    """Return the notebook's JSON.

    Args:
        name: of the model's repository.
        revision: its branch.
        prompt: the beginning of a text.
        generation: the model's sampling settings.
    """
    values = {
        "name": name,
        "model": string(name),
        "revision": revision_argument(revision),
        "prompt": string(prompt),
        "sampling": sampling_arguments(generation),
    }
    cells = [_cell("markdown", INTRODUCTION.format(**values), 0), _cell("code", INSTALL, 1)]
    for number, source in enumerate((WRITE, NEXT_WORDS, ATTENTION), start=2):
        cells.append(_cell("code", source.format(**values), number))
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    return {"cells": cells, "metadata": {"kernelspec": kernel}, "nbformat": 4, "nbformat_minor": 5}


def _cell(kind: str, source: str, number: int) -> JsonObject:
    code: JsonObject = {"execution_count": None, "outputs": []} if kind == "code" else {}
    return {"cell_type": kind, "id": f"cell-{number}", "metadata": {}, "source": source, **code}
