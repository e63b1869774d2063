"""Load datasets and models of the Hub that HF_ENDPOINT names, and print each result as a line of JSON.

stdin has a list of pairs: a token or null, and the data settings of a dataset or the name of a model. The result is
the first training text, the number of a model's parameters, or the error's message.
"""

import json
import os
import sys

from wine_gpt.config import DataConfig
from wine_gpt.data.reviews import load_reviews
from wine_gpt.errors import UserError
from wine_gpt.modeling.pretrained import load_model

for token, wanted in json.load(sys.stdin):
    os.environ.pop("HF_TOKEN", None)
    if token:
        os.environ["HF_TOKEN"] = token
    try:
        if isinstance(wanted, str):
            result = f"parameters: {load_model(wanted).num_parameters()}"
        else:
            result = load_reviews(DataConfig(**wanted)).splits["train"]["description"][0]
    except UserError as error:
        result = str(error)
    print(json.dumps(result))
