"""Use the installed package in a folder with reviews.json, and print what a test asserts as JSON.

The commands run in this process too, because each start of Python takes seconds.
"""

import contextlib
import io
import json
import sys

import wine_gpt
from wine_gpt.__main__ import main


def command(line: str) -> str:
    """Run a command and return what it prints."""
    sys.argv = ["wine-gpt", *line.split()]
    with contextlib.redirect_stdout(io.StringIO()) as stdout:
        main()
    return stdout.getvalue()


TINY = "--training.epochs 1 --model.n_layer 1 --model.n_head 2 --model.n_embd 16 --model.n_inner 16"
found = {
    # first, because a process that has imported datasets reads the reviews itself
    "trained": command(f"pretrain base.yaml --data.path reviews.json {TINY}"),
    "file": wine_gpt.__file__,
    "reviews": len(wine_gpt.load_reviews("sample").splits["train"]),
    "text": wine_gpt.generate("runs/base", "wine review : us", seed=1),
    "generated": command("generate runs/base --greedy --explain"),
    "staged": command("publish runs/base --repo org/m --space org/demo --license mit --dry_run"),
}
print(json.dumps(found))
