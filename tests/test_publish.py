"""``scripts/publish.py`` against a Hub on loopback: the files it uploads, the files it keeps, and its refusals."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import httpx2
import pytest
from datasets import Dataset
from huggingface_hub import close_session, get_session
from support.finished_runs import EVALUATION, adapt, clutter, evaluate, finish
from support.hub_faults import leaked, state
from support.hub_server import OUTSIDER, READER, SCOPED, UNSCOPED, WRITER, Fault, HubServer, Request
from support.kaggle_server import kaggle_server
from support.publisher import Publisher
from support.refused import refused
from support.snapshot import file_contents

from wine_gpt.commands.publish import main
from wine_gpt.config import DataConfig
from wine_gpt.data.reviews import load_reviews
from wine_gpt.evaluation.ngram_filter import NgramFilter
from wine_gpt.publishing.corpus import OwnCorpus
from wine_gpt.publishing.hub import bounded_waits
from wine_gpt.publishing.publication import BRANCH_NAME
from wine_gpt.publishing.run_record import read_run
from wine_gpt.publishing.staging import write_index
from wine_gpt.tokenizer import class_words

MODEL, PINOT, SYRAH, SPACE = "org/wine-gpt", "org/wine-gpt-pinot-noir", "org/wine-gpt-syrah", "org/wine-gpt-demo"
SUPPORT = Path(__file__).parent / "support"


@pytest.fixture(scope="module")
def work(toy_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a finished run, full of files that must not be published, and fine-tuned models."""
    folder = tmp_path_factory.mktemp("publish")
    run = finish(toy_run, folder / "run")
    evaluate(run)
    clutter(run, WRITER)
    adapt(run, folder / "varieties", "Pinot Noir")
    adapt(run, folder / "varieties", "Syrah", method="full", seed=1)
    adapt(run, folder / "varieties", "Merlot", better=False)
    (folder / "empty").mkdir()
    return folder


@pytest.fixture(autouse=True)
def empty_hub(hub: HubServer) -> None:
    hub.forget()


def everything(work: Path) -> list[object]:
    return [work / "run", "--repo", MODEL, "--adapters", work / "varieties", "--space", SPACE]


def report_train_texts_of(data: Path, run: Path) -> Dataset:
    """Make a data file's texts those that a run was trained on; return the train split."""
    reviews = load_reviews(DataConfig(path=str(data)))
    metrics = json.loads((run / "metrics.json").read_text())
    (run / "metrics.json").write_text(json.dumps({**metrics, "data_fingerprint": reviews.fingerprint}))
    return reviews.splits["train"]


def nothing_written(hub: HubServer) -> bool:
    return all(request.method in ("GET", "HEAD") for request in hub.requests)


# the files that are published


def test_each_repository_gets_its_files_in_one_commit(hub: HubServer, publisher: Publisher, work: Path) -> None:
    stdout = publisher.run(*everything(work), "--collection", "Wine GPT").succeeded()
    common = {
        "LICENSE",
        "README.md",
        "metrics.json",
        "review_template.json",
        "tokenizer.json",
        "tokenizer_config.json",
    }
    weights = {"config.json", "generation_config.json", "model.safetensors"}
    evaluation = {"evaluation/metrics.json", "evaluation/reliability.png"}
    assert {name: set(files or {}) for name, files in state(hub).items()} == {
        f"models/{MODEL}": common | weights | evaluation | {"config.yaml", "loss.png", "notebook.ipynb"},
        f"models/{PINOT}": common | {"adapter_config.json", "adapter_model.safetensors", "finetune_config.yaml"},
        f"models/{SYRAH}": common | weights | {"finetune_config.yaml"},
        f"spaces/{SPACE}": {
            "README.md",
            "app.py",
            "requirements.txt",
            "prompts.py",
            "sampler.py",
            "text_form.py",
            "words.py",
            "explorer_files.py",
            "ngram_filter.py",
            "static/style.css",
            "settings.json",
        },
    }
    # the Hub's first commit, and one on top
    assert [len(history) for history in hub.state().values()] == [2, 2, 2, 2]
    (collection,) = hub.collections.values()
    assert [item["id"] for item in collection["items"]] == [MODEL, SYRAH, PINOT, SPACE]
    for line in (
        f"model repository {MODEL}: published {hub.repository(MODEL).history()[0][:7]}",
        f"Space {SPACE}: published {hub.repository(SPACE, 'space').history()[0][:7]}",
        "Merlot: no better than its base, left out",
        f"collection: {hub.url}/collections/{collection['slug']}",
    ):
        assert line in stdout.splitlines()


def test_neither_tokens_nor_local_paths_are_sent_or_printed(hub: HubServer, publisher: Publisher, work: Path) -> None:
    done = publisher.run(*everything(work), "--collection", "Wine GPT")
    dry_run = publisher.run(*everything(work), "--dry_run")
    assert any(request.token == WRITER for request in hub.requests)
    assert leaked(hub, done.succeeded(), done.stderr, dry_run.succeeded(), publisher.log.read_text()) == []
    for folder in (work / "run" / "publish", publisher.space.parent / "home"):
        for name, content in file_contents(folder).items():
            assert b"canary" not in content, name
    for name, content in file_contents(work / "run" / "publish").items():
        assert str(work).encode() not in content, name
    shutil.rmtree(work / "run" / "publish")


def test_fine_tuned_models_name_their_base_on_the_hub(hub: HubServer, publisher: Publisher, work: Path) -> None:
    publisher.run(*everything(work), reuse_staged=True).succeeded()
    pinot, syrah = hub.repository(PINOT).files(), hub.repository(SYRAH).files()
    assert json.loads(pinot["adapter_config.json"])["base_model_name_or_path"] == MODEL
    assert f"base_model: {MODEL}\n" in pinot["README.md"]
    assert "base_model_relation: adapter\n" in pinot["README.md"]
    assert "base_model_relation: finetune\n" in syrah["README.md"]
    assert json.loads(syrah["metrics.json"])["base"]["path"] == MODEL
    card = hub.repository(MODEL).files()["README.md"]
    assert f"adapters:\n- {PINOT}\n" in card
    assert (
        f"[{SYRAH}](https://huggingface.co/{SYRAH}) | 21 | 3.50 | 3.20 | -8.7% (-12.0% to -5.0%) | "
        "-1.0% (-3.0% to +1.0%), no gain shown |" in card
    )
    assert "Merlot" not in card


def test_the_demo_names_its_model(hub: HubServer, publisher: Publisher, work: Path) -> None:
    publisher.run(*everything(work), reuse_staged=True).succeeded()
    space = hub.repository(SPACE, "space")
    assert json.loads(space.files()["settings.json"]) == {"model": MODEL}
    assert f"models:\n- {MODEL}\n" in space.files()["README.md"]
    assert space.sdk == "gradio"


def test_a_dry_run_lists_the_files_that_a_publish_uploads(hub: HubServer, publisher: Publisher, work: Path) -> None:
    stdout = publisher.run(*everything(work), "--dry_run", token="").succeeded()
    assert hub.requests == []
    folder = work / "run" / "publish"
    both = file_contents(folder)
    for name, content in both.items():
        assert f"  {len(content):>12,}  {name.split('/', 3)[3]}\n" in stdout
    # without a token it can't know whether the Gradio app or the explorer would be uploaded
    assert f"static_spaces/{SPACE}/index.html" in both
    staged = {name: content for name, content in both.items() if not name.startswith("static_spaces/")}
    assert (folder / "models" / MODEL / "README.md").read_text(encoding="utf-8") in stdout
    publisher.run(*everything(work)).succeeded()
    uploaded = {
        f"{name}/{path}": content for name, files in state(hub).items() for path, content in (files or {}).items()
    }
    assert staged.keys() == uploaded.keys()
    assert all(
        staged[name].decode() == content for name, content in uploaded.items() if not content.startswith("sha256:")
    )
    shutil.rmtree(folder)


def test_a_tilde_is_the_home_folder(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in ``--adapters=~/varieties``, where not every shell expands it, and in Python."""
    monkeypatch.setenv("HOME", str(work))
    main(["~/run", "--repo", MODEL, "--adapters=~/varieties", "--dry_run"])
    assert (work / "run" / "publish" / "models" / PINOT).is_dir()
    shutil.rmtree(work / "run" / "publish")


def test_a_dry_run_replaces_an_earlier_one(publisher: Publisher, work: Path) -> None:
    publisher.run(*everything(work), "--dry_run").succeeded()
    publisher.run(work / "run", "--repo", "org/another", "--dry_run").succeeded()
    assert [path.name for path in (work / "run" / "publish").glob("*/*/*")] == ["another"]
    shutil.rmtree(work / "run" / "publish")


def test_the_index_of_training_ngrams_is_published_with_the_model(
    hub: HubServer, publisher: Publisher, toy_run: Path, tmp_path: Path
) -> None:
    texts = [f"{word} plum and black cherry with some oak, and then a {word} finish" for word in "abcdefghijklmnopqr"]
    records = [{"country": "x", "province": "y", "variety": "z", "description": text} for text in texts]
    data = tmp_path / "winemag-data.json"
    data.write_text(json.dumps(records))
    run = finish(toy_run, tmp_path / "run", path=str(data))
    # a file that is named like Kaggle's may hold anything
    mit = ("--license", "mit")
    stdout = publisher.run(run, "--repo", MODEL, *mit).succeeded()
    assert "training_ngrams.safetensors is left out: whoever knows 12 words in a row could check" in stdout
    line = publisher.run(run, "--repo", MODEL, *mit, "--index").refused()
    assert line == "--index: winemag-data.json no longer has the training texts of the run"
    train = report_train_texts_of(data, run)
    publisher.run(run, "--repo", MODEL, *mit, "--index").succeeded()
    files = hub.repository(MODEL).files()
    file = tmp_path / "index.safetensors"
    file.write_bytes(hub.objects[files["training_ngrams.safetensors"].removeprefix("sha256:")])
    words = class_words(str(train[0]["description"]))
    index = NgramFilter.load(file)
    assert len(index.longest_span(words)) == 12
    assert not index.longest_span(words[::-1])
    assert "`training_ngrams.safetensors` lets wine_gpt's demo mark copied spans" in files["README.md"]
    # what an earlier version has published is removed
    publisher.run(run, "--repo", MODEL, *mit, "--no-index").succeeded()
    assert "training_ngrams.safetensors" not in hub.repository(MODEL).files()
    assert "training_ngrams" not in hub.repository(MODEL).files()["README.md"]
    data.unlink()
    assert publisher.run(run, "--repo", MODEL, "--index").refused().startswith("--index: data.path: no such file")
    stdout = publisher.run(run, "--repo", MODEL).succeeded()
    assert "training_ngrams.safetensors is left out: data.path: no such file" in stdout


def test_the_index_is_published_for_kaggles_texts_in_any_file(
    publisher: Publisher, toy_run: Path, tmp_path: Path
) -> None:
    known = (
        "The palate isn't overly expressive, offering unripened apple, citrus and dried sage alongside brisk acidity."
    )
    texts = [known, *(f"{word} plum and black cherry with some oak, and then a {word} finish" for word in "abcdefghi")]
    data = tmp_path / "notes.json"
    data.write_text(
        json.dumps([{"country": "x", "province": "y", "variety": "z", "description": text} for text in texts])
    )
    run = finish(toy_run, tmp_path / "run", path=str(data))
    report_train_texts_of(data, run)
    stdout = publisher.run(run, "--repo", MODEL, "--dry_run").succeeded()
    assert "training_ngrams.safetensors is left out" not in stdout


def test_the_index_is_left_out_for_as_many_other_texts(toy_run: Path, tmp_path: Path, cache: Path) -> None:
    data = tmp_path / "notes.csv"
    lines = [f"x,y,z,{word} plum and black cherry with some oak and then a finish" for word in "abcdefghijklmnopqr"]
    data.write_text("country,province,variety,description\n" + "\n".join(lines))
    whole = {"validation_fraction": 0.0, "test_fraction": 0.0}
    run = finish(toy_run, tmp_path / "run", path=str(data), **whole)
    reviews = load_reviews(DataConfig(path=str(data), **whole))
    reviews.report.save(run / "data_report.json")
    metrics = json.loads((run / "metrics.json").read_text())
    (run / "metrics.json").write_text(json.dumps({**metrics, "data_fingerprint": reviews.fingerprint}))
    record = read_run(run, OwnCorpus("mit"))
    write_index(record, tmp_path / "index")
    assert NgramFilter.load(tmp_path / "index").reviews == len(lines)
    data.write_text(data.read_text().replace("plum", "fig"))
    assert refused(write_index, record, tmp_path / "other") == "notes.csv no longer has the training texts of the run"
    assert not (tmp_path / "other").exists()


def test_an_index_of_texts_that_are_too_short_is_refused(publisher: Publisher, toy_run: Path, tmp_path: Path) -> None:
    records = [{"country": "x", "province": "y", "variety": "z", "description": f"plum {n}"} for n in range(40)]
    data = tmp_path / "notes.json"
    data.write_text(json.dumps(records))
    run = finish(toy_run, tmp_path / "run", path=str(data))
    report_train_texts_of(data, run)
    line = publisher.run(run, "--repo", MODEL, "--index", "--license", "mit").refused()
    assert line.startswith("--index: n-gram index: none of ")


def test_a_dry_run_with_kaggles_data_makes_no_request(
    toy_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = finish(toy_run, tmp_path / "run", path="kaggle")
    with kaggle_server({}) as server:
        for name, value in server.environment(tmp_path / "cache").items():
            monkeypatch.setenv(name, value)
        main([str(run), "--repo", MODEL, "--dry_run"])
        assert server.requests == []
    stdout = capsys.readouterr().out
    assert "training_ngrams.safetensors is left out: Kaggle's reviews are not in kagglehub's cache" in stdout


# publishing again


def test_publishing_again_makes_no_commit(hub: HubServer, publisher: Publisher, work: Path) -> None:
    publisher.run(*everything(work), "--collection", "Wine GPT", reuse_staged=True).succeeded()
    before, count = hub.state(), len(hub.requests)
    stdout = publisher.run(*everything(work), "--collection", "Wine GPT").succeeded()
    assert hub.state() == before
    assert {request.path.split("/")[-1] for request in hub.requests[count:] if request.method == "POST"} == {
        "validate-yaml",
        "collections",
        "items",
    }
    assert stdout.count("already up to date") == 4
    assert f"model repository {MODEL}: already up to date {before[f'models/{MODEL}'][0][:7]}" in stdout


def test_changed_and_removed_files_are_one_commit(
    hub: HubServer, publisher: Publisher, work: Path, tmp_path: Path
) -> None:
    run = shutil.copytree(work / "run", tmp_path / "run")
    publisher.run(run, "--repo", MODEL).succeeded()
    # the run before had another plot
    hub.upload(MODEL, {"evaluation/loss_by_field.png": b"a plot", "evaluation/mine.png": b"the owner's"})
    hub.change(MODEL, **{"notes.md": "the owner's notes"})
    shutil.rmtree(run / "evaluation")
    (run / "loss.png").write_bytes(b"\x89PNG another")
    stdout = publisher.run(run, "--repo", MODEL).succeeded()
    assert re.search(
        rf"^the card has no evaluation of the generated texts: python \S*score\.py {run} adds it$", stdout, re.M
    )
    files = hub.repository(MODEL).files()
    assert files["notes.md"] == "the owner's notes"
    assert [name for name in files if name.startswith("evaluation/")] == ["evaluation/mine.png"]
    assert "conditioning" not in files["README.md"]
    assert len(hub.repository(MODEL).history()) == 5
    commit = [request for request in hub.requests if "/commit/" in request.path][-1]
    sent = [json.loads(line)["value"].get("path") for line in commit.body.splitlines()[1:]]
    removed = ["evaluation/loss_by_field.png", "evaluation/metrics.json", "evaluation/reliability.png"]
    assert sorted(sent) == ["README.md", *removed, "loss.png"]


@pytest.mark.parametrize(
    ("file", "change"),
    [
        ("evaluation/metrics.json", {"likelihood": {**EVALUATION["likelihood"], "reviews": 20}}),
        ("evaluation/metrics.json", {"likelihood": {**EVALUATION["likelihood"], "nats_per_word": 1.27}}),
        ("evaluation/metrics.json", {"split": "validation"}),
        ("generation_config.json", {"temperature": 0.7}),
        ("generation_config.json", {"top_p": 1.0}),
    ],
)
def test_an_evaluation_of_other_reviews_or_sampling_settings_is_left_out(
    publisher: Publisher, work: Path, tmp_path: Path, file: str, change: dict[str, object]
) -> None:
    run = shutil.copytree(work / "run", tmp_path / "run")
    (run / file).write_text(json.dumps({**json.loads((run / file).read_text()), **change}))
    stdout = publisher.run(run, "--repo", MODEL, "--dry_run").succeeded()
    line = rf"^the evaluation is left out: it is of other reviews or sampling settings; python \S*score\.py {run} "
    assert re.search(line, stdout, re.M)
    assert "evaluation/" not in stdout
    assert "conditioning" not in stdout


def test_a_concurrent_change_is_not_overwritten(hub: HubServer, publisher: Publisher, work: Path) -> None:
    publisher.run(*everything(work), reuse_staged=True).succeeded()
    old = hub.repository(MODEL).history()[0]
    hub.change(MODEL, **{"config.yaml": "someone's"})
    moved = hub.repository(MODEL).history()[0]
    assert moved != old
    changes: list[str] = []

    def interfere(request: Request) -> None:
        if "/preupload/" in request.path and not changes:
            changes.append(hub.change(MODEL, **{"config.yaml": "someone else's"}))

    hub.before = interfere
    done = publisher.run(*everything(work), reuse_staged=True)
    line = done.refused()
    assert f"model repository {MODEL}: remote moved {moved[:7]} → {changes[0][:7]}; not overwritten" in line
    # the same command would take the other's commit as its parent
    assert "to resume" not in line
    assert f"look at what was changed first, at {hub.url}/{MODEL}/commits/main" in line
    assert f"Space {SPACE}: not tried, at " in done.stdout
    assert hub.repository(MODEL).history()[0] == changes[0]
    assert hub.repository(MODEL).files()["config.yaml"] == "someone else's"


def test_a_commit_whose_answer_is_lost_is_made_once(hub: HubServer, publisher: Publisher, work: Path) -> None:
    lost = Fault("drop", lost=True)
    failed: list[int] = []

    def fault(number: int, request: Request) -> Fault | None:
        if "/commit/" in request.path and not failed:
            failed.append(number)
            return lost
        return None

    hub.fault = fault
    stdout = publisher.run(work / "run", "--repo", MODEL, reuse_staged=True).succeeded()
    history = hub.repository(MODEL).history()
    assert failed
    assert len(history) == 2
    assert f"model repository {MODEL}: published {history[0][:7]}" in stdout
    assert sum("/commit/" in request.path for request in hub.requests) == 1


def test_after_a_failed_demo_a_second_run_publishes_the_demo_only(
    hub: HubServer, publisher: Publisher, work: Path
) -> None:
    hub.fault = lambda number, request: (
        Fault("refuse", 403) if "spaces" in request.path and "commit" in str(request) else None
    )
    done = publisher.run(*everything(work), reuse_staged=True)
    line = done.refused()
    number = next(
        n for n, request in enumerate(hub.requests) if "/api/spaces" in request.path and "commit" in request.path
    )
    assert f"Space {SPACE}: status 403, injected (request id request-{number}); to resume: python " in line
    assert done.stdout.count(": published ") == 3
    assert f"Space {SPACE}: not published, at {hub.repository(SPACE, 'space').history()[0][:7]}" in done.stdout
    count = len(hub.requests)
    hub.fault = lambda number, request: None
    stdout = publisher.run(*everything(work), reuse_staged=True).succeeded()
    assert stdout.count("already up to date") == 3
    commits = [request.path for request in hub.requests[count:] if "/commit/" in request.path]
    assert commits == [f"/api/spaces/{SPACE}/commit/main"]


def test_publish_from_a_notebook_returns_results_and_leaves_nothing_behind(
    hub: HubServer, work: Path, tmp_path: Path
) -> None:
    environment = {**os.environ, **hub.environment(), "HF_HOME": str(tmp_path), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, SUPPORT / "publish_in_notebook.py", work / "run", MODEL, SYRAH]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    first, other = (hub.repository(name).history() for name in (MODEL, SYRAH))
    assert len(first) == len(other) == 2
    page = {"name": MODEL, "commit": first[0], "url": f"{hub.url}/{MODEL}"}
    assert result.pop("published") == [
        {**page, "outcome": "published"},
        {**page, "outcome": "already up to date"},
        {"name": SYRAH, "outcome": "published", "commit": other[0], "url": f"{hub.url}/{SYRAH}"},
    ]
    assert result == {
        "same client": True,
        "request hooks": 1,
        "requests by the notebook's client": len(hub.requests),
        "same log handlers": True,
        "printed": "",
    }


def test_requests_time_out_on_a_client_that_huggingface_hub_has_replaced(
    hub: HubServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wine_gpt.publishing.hub.TIMEOUT", 0.2)
    hub.fault = lambda number, request: Fault("hang")
    for _ in range(2):
        with pytest.raises(httpx2.ReadTimeout), bounded_waits():
            get_session().get(hub.url, timeout=None)
        hooks = get_session().event_hooks["request"]
        # as huggingface_hub does when a connection fails
        close_session()
    assert hooks == get_session().event_hooks["request"]


# pull requests, branches, private repositories, other corpora


def test_a_pull_request_is_opened_once(hub: HubServer, publisher: Publisher, work: Path, tmp_path: Path) -> None:
    run = shutil.copytree(work / "run", tmp_path / "run")
    publisher.run(run, "--repo", MODEL).succeeded()
    before = hub.repository(MODEL).history()
    (run / "loss.png").write_bytes(b"\x89PNG another")
    # somebody without a role in the organization may open pull requests; the first answer is lost
    failed: list[int] = []

    def fault(number: int, request: Request) -> Fault | None:
        if "/commit/" in request.path and not failed:
            failed.append(number)
            return Fault("refuse", 500, lost=True)
        return None

    hub.fault = fault
    stdout = publisher.run(run, "--repo", MODEL, "--create_pr", token=OUTSIDER).succeeded()
    assert re.search(rf"model repository {MODEL}: proposed {hub.url}/.*discussions/1\n", stdout)
    stdout = publisher.run(run, "--repo", MODEL, "--create_pr", token=OUTSIDER).succeeded()
    assert re.search(rf"model repository {MODEL}: already proposed {hub.url}/.*discussions/1\n", stdout)
    repository = hub.repository(MODEL)
    assert repository.history() == before
    assert len(repository.pull_requests) == 1
    assert repository.history("refs/pr/1")[1:] == before
    new = publisher.run(run, "--repo", "org/none", "--create_pr").refused()
    assert new.startswith("model repository org/none does not exist, so nothing can be changed: publish once without")
    branch = publisher.run(run, "--repo", MODEL, "--create_pr", "--revision", "v2").refused()
    assert branch == f"model repository {MODEL} has no branch v2 for a pull request"
    count = len(hub.requests)
    unsent = publisher.run(run, "--repo", MODEL, "--create_pr", token=READER).refused()
    assert unsent.startswith(f"model repository {MODEL}: the token has no write permission (repo.write): create one")
    assert {request.method for request in hub.requests[count:]} == {"GET"}


def test_publishing_to_a_branch_does_not_change_main(hub: HubServer, publisher: Publisher, work: Path) -> None:
    publisher.run(*everything(work), "--revision", "v2").succeeded()
    repository = hub.repository(MODEL)
    assert repository.files() == {}
    assert 'model="org/wine-gpt", revision="v2")' in repository.files("v2")["README.md"]
    settings = hub.repository(SPACE, "space").files()["settings.json"]
    assert json.loads(settings) == {"model": f"{MODEL}@v2"}
    # an adapter's config names the branch of its base
    assert json.loads(hub.repository(PINOT).files("v2")["adapter_config.json"])["revision"] == "v2"


def test_private_repositories_and_collections(hub: HubServer, publisher: Publisher, work: Path) -> None:
    publisher.run(*everything(work), "--private", "--collection", "Wine GPT").succeeded()
    assert all(repository.private for repository in hub.repositories.values())
    assert all(collection["private"] for collection in hub.collections.values())
    publisher.run(*everything(work), "--private").succeeded()


def test_another_corpus_needs_a_license(hub: HubServer, publisher: Publisher, toy_run: Path, tmp_path: Path) -> None:
    run = finish(toy_run, tmp_path / "run", path=str(tmp_path / "poems.jsonl"), prefix="poem")
    (run / "samples.jsonl").write_text("")
    assert (
        "under which license may a model trained on it be published? --license"
        in publisher.run(run, "--repo", MODEL).refused()
    )
    assert "--license Apache: is not listed at" in publisher.run(run, "--repo", MODEL, "--license", "Apache").refused()
    # the tests' Hub knows some licenses only
    assert (
        'the Hub refuses the card\'s metadata: "license" must be one of ['
        in publisher.run(run, "--repo", MODEL, "--license", "wtfpl").refused()
    )
    assert hub.repositories == {}
    publisher.run(run, "--repo", MODEL, "--license", "cc-by-4.0").succeeded()
    files = hub.repository(MODEL).files()
    assert "license: cc-by-4.0\n" in files["README.md"]
    assert "--data.path FILE" in files["README.md"]
    assert "path: poems.jsonl\n" in files["config.yaml"]
    # the toy model, which learned wine reviews, wrote the samples
    card = re.sub(r"\nwidget:.*?(?=\nmodel-index:)|```text.*?```", "", files["README.md"], flags=re.DOTALL)
    assert not re.search(r"wine(?!\\?[_-]gpt)|kaggle|zynicide", card + files["LICENSE"], re.IGNORECASE)
    assert str(tmp_path) not in "".join(files.values())


# refusals


@pytest.mark.parametrize(
    ("token", "message"),
    [
        ("", "no token: log in with hf auth login, or set HF_TOKEN"),
        ("hf_canaryUnknown", "the token is not valid: log in again with hf auth login, or set HF_TOKEN"),
        (READER, f"model repository {MODEL}: the token has no write permission (repo.write): create one that"),
        (UNSCOPED, f"model repository {MODEL}: the token has no write permission (repo.write): create one that"),
        (OUTSIDER, f"model repository {MODEL}: somebody has no write permission in org"),
    ],
)
def test_missing_permissions_are_reported_before_any_upload(
    hub: HubServer, publisher: Publisher, work: Path, token: str, message: str
) -> None:
    done = publisher.run(*everything(work), token=token, reuse_staged=True)
    assert done.refused().startswith(message)
    assert nothing_written(hub)
    assert sum("whoami" in request.path for request in hub.requests) <= 1
    assert leaked(hub, done.stdout, done.stderr) == []


def test_a_missing_token_is_reported_before_the_long_work(publisher: Publisher, work: Path) -> None:
    run = work / "empty"
    assert publisher.run(run, "--repo", MODEL, token="").refused().startswith("no token: log in with")
    assert publisher.run(run, "--repo", MODEL, "--dry_run", token="").refused().startswith(f"{run} holds no finished")


def test_a_token_scoped_to_the_organization_may_publish(hub: HubServer, publisher: Publisher, work: Path) -> None:
    publisher.run(work / "run", "--repo", MODEL, token=SCOPED, reuse_staged=True).succeeded()
    assert hub.repository(MODEL).files()


def test_one_repository_without_write_permission_stops_the_publish(
    hub: HubServer, publisher: Publisher, work: Path
) -> None:
    publisher.run(*everything(work), reuse_staged=True).succeeded()
    before, count = hub.state(), len(hub.requests)
    hub.fault = lambda number, request: (
        Fault("refuse", 403) if request.path.endswith(f"{SPACE}/auth-check/write") else None
    )
    line = publisher.run(*everything(work), reuse_staged=True).refused()
    assert line.startswith(f"Space {SPACE}: somebody has no write permission")
    assert hub.state() == before
    assert {request.method for request in hub.requests[count:]} == {"GET"}


def test_a_gated_repository_is_read_by_whoever_has_access(hub: HubServer, publisher: Publisher, work: Path) -> None:
    run = [work / "run", "--repo", MODEL]
    publisher.run(*run, reuse_staged=True).succeeded()
    hub.gated = {MODEL}
    line = publisher.run(*run, "--create_pr", token=OUTSIDER, reuse_staged=True).refused()
    assert line == f"model repository {MODEL} is gated: accept its terms at {hub.url}/{MODEL}"
    assert "already up to date" in publisher.run(*run, reuse_staged=True).succeeded()


def test_swapped_names_of_model_and_space_are_refused(hub: HubServer, publisher: Publisher, work: Path) -> None:
    publisher.run(*everything(work), reuse_staged=True).succeeded()
    swapped = publisher.run(work / "run", "--repo", SPACE, "--space", MODEL)
    assert swapped.refused().startswith(f"{SPACE} is a Space on the Hub, not a model repository: name another")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["{work}/none", "--repo", MODEL], "no such folder: {work}/none"),
        (["{work}/empty", "--repo", MODEL], "{work}/empty holds no finished run: it has no metrics.json"),
        (
            ["{work}/varieties/syrah", "--repo", MODEL],
            "{work}/varieties/syrah is a fine-tuned model: publish its base, with --adapters {work}/varieties",
        ),
        (
            ["{work}/varieties", "--repo", MODEL],
            "{work}/varieties holds fine-tuned models: publish their base, with --adapters {work}/varieties",
        ),
        (["{work}/run"], "the following arguments are required: --repo"),
        (["{work}/run", "--space", SPACE], "the following arguments are required: --repo"),
        (["{work}/run", "--repo", "wine-gpt"], "--repo: 'wine-gpt' must name an account and a repository"),
        (["{work}/run", "--repo", "org/wine gpt"], "--repo: Repo id must use alphanumeric chars"),
        (["{work}/run", "--repo", "a/b/c"], "--repo: Repo id must be in the form"),
        (["{work}/run", "--repo", MODEL, "--space", "org/--"], "--space: "),
        (["{work}/run", "--repo", MODEL, "--space", ""], "--space: "),
        (
            ["{work}/run", "--repo", f"https://huggingface.co/{MODEL}/tree/main"],
            f"--repo: https://huggingface.co/{MODEL}/tree/main is an address, not a name: --repo {MODEL}",
        ),
        (
            ["{work}/run", "--repo", MODEL, "--space", f"hf.co/spaces/{SPACE}"],
            f"--space: hf.co/spaces/{SPACE} is an address",
        ),
        (["{work}/run", "--repo", MODEL, "--adapters", "{work}/empty"], "--adapters: {work}/empty holds no model of"),
        (["{work}/run", "--repo", MODEL, "--adapters", "{work}/typo"], "--adapters: no such folder: {work}/typo; "),
        (
            ["{work}/run", "--repo", MODEL, "--license", "mit"],
            "--license mit: a model trained on synthetic wine reviews",
        ),
        (
            ["{work}/run", "--repo", MODEL, "--adapters", "{work}/varieties/syrah"],
            "--adapters: {work}/varieties/syrah is one fine-tuned model: name the folder of all, --adapters ",
        ),
        (
            ["{work}/run", "--repo", MODEL, "--adapters", "{work}/run"],
            "--adapters: {work}/run is no model that scripts/finetune.py fine-tuned on a subset",
        ),
        (
            ["{work}/run", "--repo", MODEL, "--adapters", "{work}"],
            "--adapters: {work}/run is no model that scripts/finetune.py fine-tuned on a subset",
        ),
        (
            ["{work}/run", "--repo", MODEL, "--collection", " ", "--dry_run"],
            "--collection: a title has 1 to 60 characters",
        ),
        (["{work}/run", "--repo", MODEL, "--token", "x"], "unrecognized arguments: --token x; see --help"),
    ],
)
def test_wrong_arguments_are_refused_in_one_line(
    hub: HubServer, publisher: Publisher, work: Path, arguments: list[str], message: str
) -> None:
    done = publisher.run(*(part.format(work=work) for part in arguments))
    assert done.refused().startswith(message.format(work=work))
    assert nothing_written(hub)


def test_revisions_are_names_of_branches() -> None:
    wrong = (
        "",
        "my branch",
        "../x",
        "a..b",
        "/a",
        "a/",
        "a//b",
        ".a",
        "a/.b",
        "-x",
        "a.lock",
        "a~1",
        "a:b",
        "@",
        "a@{b",
        "a\n",
        "HEAD",
    )
    assert [name for name in wrong if BRANCH_NAME.fullmatch(name)] == []
    right = ("main", "v2", "release/1.0", "féature", "refs/pr/1", "a-b_c.d", "x@y")
    assert [name for name in right if BRANCH_NAME.fullmatch(name)] == [*right]


def test_log_in_pages_and_missing_servers_are_named(hub: HubServer, publisher: Publisher, work: Path) -> None:
    hub.fault = lambda number, request: Fault("page")
    line = publisher.run(work / "run", "--repo", MODEL, reuse_staged=True).refused()
    assert line.startswith(
        f"whoami: {hub.url} did not answer with JSON, but perhaps with the log-in page of a network"
    )
    hub.fault = lambda number, request: Fault("drop")
    line = publisher.run(work / "run", "--repo", MODEL, reuse_staged=True).refused()
    assert line.startswith(f"whoami: the connection to {hub.url} failed: ")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("metrics.json", None, "holds no finished run: it has no metrics.json"),
        ("metrics.json", "{}", "metrics.json has no data_fingerprint"),
        ("metrics.json", "{", "metrics.json is not JSON: "),
        ("tokenizer.json", None, "has no tokenizer.json, which publishing needs: name the folder that training wrote"),
        ("model.safetensors", None, "has no model.safetensors"),
        ("model.safetensors", "cut", "model.safetensors is damaged"),
        ("config.yaml", None, "has no config.yaml"),
        (
            "config.yaml",
            "data: {name: hf_canaryToken0123456789x}",
            "contains an access token of the Hub; nothing was published",
        ),
        ("evaluation/metrics.json", "[]", "evaluation/metrics.json must hold an object, not list"),
    ],
)
def test_an_incomplete_run_is_refused_in_one_line(
    hub: HubServer, publisher: Publisher, work: Path, tmp_path: Path, name: str, content: str | None, message: str
) -> None:
    run = shutil.copytree(work / "run", tmp_path / "run")
    (run / name).unlink()
    if content is not None:
        (run / name).write_text(content)
    line = publisher.run(run, "--repo", MODEL).refused()
    assert re.search(message, line), line
    assert nothing_written(hub)


def test_fine_tuned_models_of_other_weights_are_refused(
    hub: HubServer, publisher: Publisher, work: Path, tmp_path: Path
) -> None:
    metrics = json.loads((work / "varieties" / "pinot-noir" / "metrics.json").read_text())
    part = shutil.copytree(work / "varieties" / "pinot-noir", tmp_path / "varieties" / "pinot-noir")
    metrics["base"]["weights_sha256"] = "0" * 64
    (part / "metrics.json").write_text(json.dumps(metrics))
    done = publisher.run(work / "run", "--repo", MODEL, "--adapters", tmp_path / "varieties")
    assert re.match(
        rf"--adapters: {part} was fine-tuned from other weights than RUN's \(000000000000…", done.refused()
    )
    assert nothing_written(hub)


def test_a_demo_without_sources_is_refused(publisher: Publisher, work: Path) -> None:
    (publisher.space / "app.py").rename(publisher.space / "renamed.py")
    try:
        line = publisher.run(work / "run", "--repo", MODEL, "--space", SPACE).refused()
    finally:
        (publisher.space / "renamed.py").rename(publisher.space / "app.py")
    assert line == f"--space: no demo at {publisher.space}: install wine_gpt again"
