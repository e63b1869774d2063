"""Load metrics of ``evaluate`` without a network, run their documentation's examples, and print the results as JSON.

python load_metrics_offline.py HOME FOLDER ...

HOME is an empty folder for the Hub's cache; each FOLDER has a metric.
"""

import doctest
import json
import os
import socket
import sys

os.environ |= {"HF_HUB_OFFLINE": "1", "HF_HOME": sys.argv[1]}


def refuse(*_: object) -> None:
    """Raise instead of connecting."""
    raise AssertionError("a connection was attempted")


socket.socket.connect = refuse
import evaluate  # noqa: E402 - reads the environment

seen = {}
for path in sys.argv[2:]:
    metric = evaluate.load(path)
    # the examples of its documentation
    text = metric.inputs_description.replace("wine_gpt/evaluation/metrics", os.path.dirname(path))
    found = doctest.DocTestParser().get_doctest(text, {"evaluate": evaluate}, path, None, 0)
    result = doctest.DocTestRunner().run(found)
    seen[os.path.basename(path)] = {
        "failed": result.failed,
        "tried": result.attempted,
        "description": metric.description,
        "features": metric._feature_names(),
    }
print(json.dumps(seen))
