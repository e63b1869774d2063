"""Upload each metric's folder to a Space of the Hub that HF_ENDPOINT names, and load the metric from there.

python publish_metrics.py FOLDER ...

Prints the names of the inputs of each metric as it is loaded from its Space, as a line of JSON.
"""

import json
import sys
from pathlib import Path

import evaluate
from huggingface_hub import HfApi

api = HfApi()
for folder in map(Path, sys.argv[1:]):
    space = f"org/{folder.name}"
    api.create_repo(space, repo_type="space", space_sdk="gradio")
    api.upload_folder(repo_id=space, folder_path=folder, repo_type="space", ignore_patterns="__pycache__/*")
    metric = evaluate.load(space)
    print(json.dumps(sorted(metric._feature_names())))
