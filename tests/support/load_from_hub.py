"""Load datasets and models of the Hub that HF_ENDPOINT names, and print each result as a line of JSON.

The argument is a JSON list of pairs: a token or null, and the data settings of a dataset, the name of a model, or a
list of how to generate with a model, by the command or the API, and its name. The result is the first training text,
the number of a model's parameters, the generated text, or the error's message.
"""

import contextlib
import io
import json
import os
import sys

from support.local_server import PATIENCE
from wine_gpt import generate, model_path
from wine_gpt.commands.generate import main
from wine_gpt.config import DataConfig
from wine_gpt.data import hub_dataset
from wine_gpt.data.reviews import load_reviews
from wine_gpt.errors import UserError
from wine_gpt.modeling.pretrained import load_model


def generated(way: str, model: str) -> str:
    """Generate greedily by the command or the API."""
    if way == "api":
        return generate(model, do_sample=False, max_new_tokens=3)
    with contextlib.redirect_stdout(io.StringIO()) as stdout:
        main([model, "--greedy", "--max_new_tokens", "3"])
    return stdout.getvalue().strip()


timeouts = model_path.TIMEOUT, hub_dataset.TIMEOUT
# the server is in a process that may be busy
model_path.TIMEOUT = hub_dataset.TIMEOUT = PATIENCE
try:
    for token, wanted in json.loads(sys.argv[1]):
        os.environ.pop("HF_TOKEN", None)
        if token:
            os.environ["HF_TOKEN"] = token
        try:
            if isinstance(wanted, list):
                result = generated(*wanted)
            elif isinstance(wanted, str):
                result = f"parameters: {load_model(wanted).num_parameters()}"
            else:
                result = load_reviews(DataConfig(**wanted)).splits["train"]["description"][0]
        except UserError as error:
            result = str(error)
        print(json.dumps(result))
finally:
    # other scripts run in this process
    model_path.TIMEOUT, hub_dataset.TIMEOUT = timeouts
