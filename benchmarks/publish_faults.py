"""Inject every fault into every request of a publish, one at a time, and count the states that are left.

python benchmarks/publish_faults.py faults.jsonl
python benchmarks/publish_faults.py faults.jsonl --slice 3/20

There are three scenarios: the first publish of a model, an adapter and a demo with Xet, the same with Git LFS, and a
publish that changes all three. They run against tests/support/hub_server.py, without waiting before retries. Each
failed publish is run once more. Faults are errors, lost answers, answers of another JSON type or an HTML page, and
errors of hf_xet's requests. Each trial is appended to the file, trials that the file has are not repeated, and at the
end the file's table is printed.
"""

import argparse
import json
import random
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
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

# what a trial's line in the file has
Result = dict[str, str | int]


def main() -> None:
    """Run the trials of a slice that the file lacks, and print the file's tables and every trial that went wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("--slice", default="1/1", metavar="K/N", help="run the Kth of N random slices of the trials")
    options = parser.parse_args()
    first, step = map(int, options.slice.split("/"))
    done = {(result["scenario"], result["trial"]) for result in read_results(options.file)}
    with tempfile.TemporaryDirectory() as folder, hub_server() as server:
        for title, scenario in scenarios(Path(folder), server):
            shuffled = random.Random(0).sample(ordered := [*trials(scenario)], len(ordered))
            for name, label, run in shuffled[first - 1 :: step]:
                if (title, name) not in done:
                    append(options.file, {"scenario": title, "trial": name, "fault": label, **outcome(run())})
    print_tables(read_results(options.file))


def read_results(file: Path) -> list[Result]:
    """Return the trials in the file."""
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()] if file.exists() else []


def append(file: Path, result: Result) -> None:
    """Add a trial to the file."""
    with file.open("a", encoding="utf-8") as lines:
        lines.write(json.dumps(result) + "\n")


def trials(scenario: Scenario) -> Iterator[tuple[str, str, Callable[[], Trial]]]:
    """Yield a name, the fault and the trial itself, for each fault at each request."""
    for number, request in enumerate(scenario.requests):
        for fault in (fault for fault in (*ALL, *ODD_ANSWERS) if scenario.can_fail(number, fault)):
            label = describe(fault)
            yield f"{label} at {number}, {request}", label, lambda n=number, f=fault: scenario.trial(n, f)
        for fault in (Fault("drop"), Fault("refuse", 503)):
            label = f"{fault}, at all later requests too"
            run = lambda n=number, f=fault: scenario.trial(n, f, permanently=True)  # noqa: E731 - binds both
            yield f"{label} at {number}, {request}", label, run
    for fault in XET_FAULTS if scenario.uses_xet else ():
        for path in XET_PATHS:
            yield f"{fault} at Xet's {path}", f"{fault} of Xet", lambda p=path, f=fault: scenario.xet_trial(p, f)


def describe(fault: Fault) -> str:
    """Return the fault, with the JSON that it answers."""
    return f"JSON {json.dumps(fault.content)}" if fault.kind == "json" else str(fault)


def outcome(trial: Trial) -> Result:
    """Return what the trial left; a trial that went wrong is printed in full."""
    failed = trial.first.code != 0
    left = Counter(trial.left.values()) if failed else Counter()
    wrong = trial.problems or "neither" in trial.left.values() or "Traceback" in trial.first.stderr
    if wrong:
        print(f"{trial}: {trial.left} {trial.problems} {trial.first.stderr}", file=sys.stderr)
    finished = trial.second is not None and trial.second.code == 0
    counts = {"failed": failed, "old": left["old"], "new": left["new"], "finished": finished, "wrong": bool(wrong)}
    return {name: int(count) for name, count in counts.items()}


def print_tables(results: list[Result]) -> None:
    """Print a table for each scenario, with a row for each fault."""
    for title in dict.fromkeys(result["scenario"] for result in results):
        of_scenario = [result for result in results if result["scenario"] == title]
        print(f"\n{title}: {len(of_scenario)} trials\n")
        print("| fault | trials | survived | left old / new | second run finished | wrong |")
        print("|---|---|---|---|---|---|")
        for label in dict.fromkeys(result["fault"] for result in of_scenario):
            print(row(str(label), [result for result in of_scenario if result["fault"] == label]))


def row(label: str, results: list[Result]) -> str:
    """Return a row of the table."""
    total = {
        name: sum(int(result[name]) for result in results) for name in ("failed", "old", "new", "finished", "wrong")
    }
    cells = [
        label,
        len(results),
        len(results) - total["failed"],
        f"{total['old']} / {total['new']}",
        f"{total['finished']} of {total['failed']}",
        total["wrong"],
    ]
    return f"| {' | '.join(map(str, cells))} |"


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


if __name__ == "__main__":
    main()
