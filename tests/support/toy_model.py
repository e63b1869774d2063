"""A GPT-2 that learns made-up reviews in a few seconds."""

import itertools
from pathlib import Path

import torch

from wine_gpt.config import ModelConfig
from wine_gpt.data.template import CLASS_TEMPLATE
from wine_gpt.modeling.gpt2 import build_model
from wine_gpt.modeling.loss import LanguageModelLoss
from wine_gpt.tokenizer import encode_reviews, save_tokenizer, train_tokenizer

TOY_POSITIONS = 64


def train_toy(
    folder: Path, kind: str = "words", positions: int = TOY_POSITIONS, epochs: int = 40, line_breaks: bool = False
) -> Path:
    """Train a GPT-2 on the made-up reviews with a tokenizer of a kind, in a few seconds."""
    texts = toy_texts(line_breaks)
    tokenizer = train_tokenizer(texts, 400, kind=kind, line_breaks=line_breaks)
    tokenizer.model_max_length = positions - 1
    shape = ModelConfig(n_layer=2, n_head=2, n_embd=32, n_inner=64, block_size=positions, dropout=0.1)
    model = build_model(shape, tokenizer, seed=0)
    encoded = encode_reviews(tokenizer, texts)
    # all reviews have equally many words; of the other kinds the longer ones are cut
    length = min(map(len, encoded))
    ids = torch.tensor([row[:length] for row in encoded])
    loss = LanguageModelLoss(model).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    for _ in range(epochs):
        for rows in torch.randperm(len(ids)).split(54):
            optimizer.zero_grad()
            (loss(ids[rows, :-1], ids[rows, 1:]) / ids[rows, 1:].numel()).backward()
            optimizer.step()
    model.save_pretrained(folder)
    save_tokenizer(tokenizer, folder)
    CLASS_TEMPLATE.save(folder)
    return folder


def toy_texts(line_breaks: bool = False) -> list[str]:
    """Return every combination of a few regions, grapes and fruits in one sentence, or in lines."""
    regions = ("Italy : Tuscany", "Germany : Mosel", "Spain : Rioja")
    grapes = ("Riesling", "Sangiovese", "Tempranillo")
    fruits = ("plum", "cherry", "quince", "apple")
    characters = ("a full-bodied, bright", "a light-bodied, crisp", "a medium-bodied, dry")
    prices = ("$15", "$30")
    space = "\n" if line_breaks else " "
    return [
        f"wine review : {region} : {grape} : It's {character}{space}wine with {fruit}{space}and oak, worth {price}. "
        "Drink now."
        for region, grape, fruit, character, price in itertools.product(regions, grapes, fruits, characters, prices)
    ]
