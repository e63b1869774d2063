"""Inject every fault into every request of a publish, one at a time, and count the states that are left.

python benchmarks/publish_faults.py

There are three scenarios: the first publish of a model, an adapter and a demo with Xet, the same with Git LFS, and a
publish that changes all three. They run against tests/support/hub_server.py, without waiting before retries. Each
failed publish is run once more. Faults are errors, lost answers, answers of another JSON type or an HTML page, and
errors of hf_xet's requests.
"""

import json
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from support.finished_runs import METRICS, adapt, demo, finish
from support.hub_faults import ALL, ODD_ANSWERS, XET_FAULTS, XET_PATHS, Scenario, Trial
from support.hub_server import Fault, HubServer, hub_server
from support.publisher import Publisher
from support.toy_training import make_tokenizer

from wine_gpt.config import ModelConfig
from wine_gpt.modeling.gpt2 import build_model
from wine_gpt.tokenizer import save_tokenizer


def main() -> None:
    """Print a row for each fault, and every trial that went wrong."""
    with tempfile.TemporaryDirectory() as folder, hub_server() as server:
        for title, scenario in scenarios(Path(folder), server):
            print(f"\n{title}: {len(scenario.requests)} requests\n")
            print("| fault | trials | survived | left old and new | second run finished | wrong |")
            print("|---|---|---|---|---|---|")
            for fault in (*ALL, *ODD_ANSWERS):
                trials = [scenario.trial(number, fault) for number in range(len(scenario.requests))]
                print(row(str(fault), trials), flush=True)
            for fault in (Fault("drop"), Fault("refuse", 503)):
                trials = [scenario.trial(number, fault, permanently=True) for number in range(len(scenario.requests))]
                print(row(f"{fault}, at all later requests too", trials), flush=True)
            if scenario.uses_xet:
                for fault in XET_FAULTS:
                    trials = [scenario.xet_trial(path, fault) for path in XET_PATHS]
                    print(row(f"{fault} of Xet", trials), flush=True)


def scenarios(folder: Path, server: HubServer) -> Iterator[tuple[str, Scenario]]:
    """Yield the first publish with Xet and with Git LFS, and a publish that changes all three repositories."""
    toy = folder / "toy"
    tokenizer = make_tokenizer()
    # the sizes in finish()'s config.yaml
    shape = ModelConfig(n_layer=2, n_head=2, n_embd=32, n_inner=64, block_size=64)
    tokenizer.model_max_length = 63
    build_model(shape, tokenizer, seed=0).save_pretrained(toy)
    save_tokenizer(tokenizer, toy)
    run = finish(toy, folder / "run")
    adapt(run, folder / "varieties", "Pinot Noir")
    space = demo(folder / "space", "")
    arguments = [run, "--repo", "org/wine-gpt", "--adapters", folder / "varieties", "--space", "org/demo"]
    publisher = Publisher(server.environment(), space, folder / "home")
    yield "first publish", Scenario(server, publisher, [*arguments, "--collection", "Wine GPT"])
    publisher.close()
    server.forget()
    publisher = Publisher({**server.environment(), "HF_HUB_DISABLE_XET": "1"}, space, folder / "home")
    yield "first publish, Git LFS", Scenario(server, publisher, [*arguments, "--collection", "Wine GPT"])
    publisher.close()
    change(run, folder / "varieties", space)
    publisher = Publisher(server.environment(), space, folder / "home")
    server.retry_after = None
    yield "publish that changes all", Scenario(server, publisher, [*arguments, "--collection", "Wine GPT"])
    publisher.close()


def change(run: Path, varieties: Path, space: Path) -> None:
    """Change a file of each repository, one of them stored by LFS."""
    (run / "loss.png").write_bytes(b"\x89PNG another")
    (run / "metrics.json").write_text(json.dumps({**METRICS, "parameters": 1}))
    metrics = varieties / "pinot-noir" / "metrics.json"
    metrics.write_text(metrics.read_text().replace("12.3", "45.6"))
    (space / "app.py").write_text("print('another demo')\n")


def row(label: str, trials: list[Trial]) -> str:
    """Return a row of the table; trials that went wrong are printed in full."""
    wrong = [
        trial
        for trial in trials
        if trial.problems or "neither" in trial.left.values() or "Trace" in trial.first.stderr
    ]
    for trial in wrong:
        print(f"{trial}: {trial.left} {trial.problems} {trial.first.stderr}", file=sys.stderr)
    left = Counter(state for trial in trials if trial.first.code for state in trial.left.values())
    survived = sum(trial.first.code == 0 for trial in trials)
    finished = sum(trial.second is not None and trial.second.code == 0 for trial in trials)
    states = f"{left['old']} and {left['new']}"
    cells = [label, len(trials), survived, states, f"{finished} of {len(trials) - survived}"]
    return f"| {' | '.join(map(str, cells))} | {len(wrong)} |"


if __name__ == "__main__":
    main()
