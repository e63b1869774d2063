"""Every fault at every request of a publish, one at a time: what each leaves, and whether a second run finishes.

python benchmarks/publish_faults.py

Two scenarios, against the Hub over loopback of tests/hub_server.py: a first publish of a model, an adapter and a demo,
and a publish that changes all three. Waiting is recorded, not done.
"""

import json
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from support.finished_runs import METRICS, adapt, demo, finish
from support.hub_faults import ALL, Scenario, Trial
from support.hub_server import Fault, HubServer, hub_server
from support.publisher import Publisher
from support.toy_training import MODEL, make_tokenizer

from wine_gpt.modeling.gpt2 import build_model
from wine_gpt.tokenizer import save_tokenizer


def main() -> None:
    """Print a row for each fault, and each trial that went wrong."""
    with tempfile.TemporaryDirectory() as folder, hub_server() as server:
        for title, scenario in scenarios(Path(folder), server):
            print(f"\n{title}: {len(scenario.requests)} requests\n")
            print("| fault | trials | went on by itself | left old and new | second run finished | wrong |")
            print("|---|---|---|---|---|---|")
            for fault in ALL:
                trials = [scenario.trial(number, fault) for number in range(len(scenario.requests))]
                print(row(str(fault), trials), flush=True)
            for fault in (Fault("drop"), Fault("refuse", 503)):
                trials = [scenario.trial(number, fault, for_good=True) for number in range(len(scenario.requests))]
                print(row(f"{fault}, and no answer ever after", trials), flush=True)


def scenarios(folder: Path, server: HubServer) -> Iterator[tuple[str, Scenario]]:
    """Yield a first publish, and one that changes what is there."""
    toy = folder / "toy"
    tokenizer = make_tokenizer()
    build_model(MODEL, tokenizer, seed=0).save_pretrained(toy)
    save_tokenizer(tokenizer, toy)
    run = finish(toy, folder / "run")
    adapt(run, folder / "varieties", "Pinot Noir")
    space = demo(folder / "space", "")
    arguments = [run, "--repo", "org/wine-gpt", "--adapters", folder / "varieties", "--space", "org/demo"]
    publisher = Publisher(server.environment(), space, folder / "home")
    yield "first publish", Scenario(server, publisher, [*arguments, "--collection", "Wine GPT"])
    publisher.close()
    change(run, folder / "varieties", space)
    publisher = Publisher(server.environment(), space, folder / "home")
    server.retry_after = None
    yield "a publish that changes all", Scenario(server, publisher, [*arguments, "--collection", "Wine GPT"])
    publisher.close()


def change(run: Path, varieties: Path, space: Path) -> None:
    """Change a file of each repository, and one that is stored by LFS."""
    (run / "loss.png").write_bytes(b"\x89PNG another")
    (run / "metrics.json").write_text(json.dumps({**METRICS, "parameters": 1}))
    part = varieties / "pinot-noir" / "metrics.json"
    part.write_text(part.read_text().replace("12.3", "45.6"))
    (space / "app.py").write_text("print('another demo')\n")


def row(label: str, trials: list[Trial]) -> str:
    """Return a row of the table; what went wrong is printed in full."""
    wrong = [
        trial
        for trial in trials
        if trial.problems or "neither" in trial.left.values() or "Trace" in trial.first.stderr
    ]
    for trial in wrong:
        print(f"{trial}: {trial.left} {trial.problems} {trial.first.stderr}", file=sys.stderr)
    left = Counter(state for trial in trials if trial.first.code for state in trial.left.values())
    went_on = sum(trial.first.code == 0 for trial in trials)
    finished = sum(trial.second is not None and trial.second.code == 0 for trial in trials)
    cells = [label, len(trials), went_on, f"{left['old']} and {left['new']}", f"{finished} of {len(trials) - went_on}"]
    return f"| {' | '.join(map(str, cells))} | {len(wrong)} |"


if __name__ == "__main__":
    main()
