"""Names, visibility and plans: what ``scripts/publish.py`` checks before it creates anything."""

import json
from pathlib import Path

import pytest
from huggingface_hub import RepoCard
from support.finished_runs import adapt, finish
from support.hub_server import SCOPED, UNSCOPED, Fault, HubServer
from support.publisher import Publisher

MODEL, PINOT, SPACE = "org/wine-gpt", "org/wine-gpt-pinot-noir", "org/wine-gpt-demo"
EXPLORER = Path(__file__).parents[1] / "space" / "explorer"


@pytest.fixture(scope="module")
def work(toy_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a finished run and an adapter."""
    folder = tmp_path_factory.mktemp("names")
    run = finish(toy_run, folder / "run")
    adapt(run, folder / "varieties", "Pinot Noir")
    return folder


@pytest.fixture(autouse=True)
def empty_hub(hub: HubServer) -> None:
    hub.forget()


def everything(work: Path, space: str = SPACE) -> list[object]:
    return [work / "run", "--repo", MODEL, "--adapters", work / "varieties", "--space", space]


# paid plans


def test_without_a_paid_plan_all_but_the_space_is_published(hub: HubServer, publisher: Publisher, work: Path) -> None:
    hub.paid_plan = False
    gradio = [*everything(work), "--space_sdk", "gradio"]
    done = publisher.run(*gradio, "--collection", "Wine GPT", reuse_staged=True)
    line = done.refused()
    assert line.startswith(
        f"Space {SPACE} was not created: status 402, Subscribe to PRO to create this Space (request"
    )
    for part in (
        "paid plan",
        "publish again with the option space_sdk static",
        "with space_hardware zero-a10g",
        # not in the publisher's working folder
        f"WINE_GPT_MODEL={MODEL} python {EXPLORER.parent / 'app.py'}",
    ):
        assert part in line
    assert "to resume" not in line
    (collection,) = hub.collections.values()
    assert [item["id"] for item in collection["items"]] == [MODEL, PINOT]
    assert "huggingface.co/spaces" not in hub.repository(MODEL).files()["README.md"]
    before = hub.state()
    assert publisher.run(*gradio, reuse_staged=True).code == 2
    assert hub.state() == before
    hub.paid_plan = True
    publisher.run(*gradio, "--collection", "Wine GPT", reuse_staged=True).succeeded()
    assert [item["id"] for item in collection["items"]] == [MODEL, PINOT, SPACE]
    assert f"huggingface.co/spaces/{SPACE}" in hub.repository(MODEL).files()["README.md"]


def test_without_a_paid_plan_the_gradio_app_runs_on_zerogpu(hub: HubServer, publisher: Publisher, work: Path) -> None:
    """With a Python and a torch that ZeroGPU has."""
    hub.paid_plan = False
    publisher.run(*everything(work), "--space_sdk", "gradio", "--space_hardware", "zero-a10g").succeeded()
    created = [request.json() for request in hub.requests if request.path == "/api/repos/create"]
    assert [sent["hardware"] for sent in created if sent["type"] == "space"] == ["zero-a10g"]
    files = hub.repository(SPACE, "space").files()
    requirements = files["requirements.txt"].splitlines()
    assert {"torch==2.11.0", "spaces"} <= set(requirements)
    assert len([line for line in requirements if line.startswith("torch==")]) == 1
    assert "python_version: '3.12'" in files["README.md"]
    line = publisher.run(*everything(work), "--space_sdk", "static", "--space_hardware", "zero-a10g").refused()
    assert "--space_hardware is of the Gradio app: add --space_sdk gradio" in line


def test_the_plan_chooses_the_demo_and_an_existing_space_stays(
    hub: HubServer, publisher: Publisher, work: Path
) -> None:
    hub.paid_plan = False
    arguments = everything(work)
    done = publisher.run(*arguments, "--revision", "v2", reuse_staged=True)
    done.succeeded()
    assert (
        f"Space {SPACE}: the explorer, a static page that runs in the visitor's browser, because org has no paid "
        "plan, which the Hub wants for a new Gradio Space; the option space_sdk chooses"
    ) in done.stdout
    space = hub.repository(SPACE, "space")
    files = space.files()
    assert space.sdk == "static"
    sources = {
        path.relative_to(EXPLORER).as_posix()
        for path in EXPLORER.rglob("*")
        if path.is_file() and path.suffix not in (".md", "")
    }
    assert {*files} - {".gitattributes"} == {*sources, "README.md", "settings.json"}
    assert json.loads(files["settings.json"]) == {"model": MODEL, "revision": "v2", "language": "en"}
    metadata = RepoCard(files["README.md"]).data.to_dict()
    assert (metadata["sdk"], metadata["app_file"], metadata["models"]) == ("static", "index.html", [MODEL, PINOT])
    assert f"huggingface.co/spaces/{SPACE}" in hub.repository(MODEL).files("v2")["README.md"]
    # a paid plan does not replace it
    hub.paid_plan = True
    done = publisher.run(*arguments, "--revision", "v2", reuse_staged=True)
    done.succeeded()
    assert "because the Space has the SDK static" in done.stdout
    assert done.stdout.count("already up to date") == 3
    hub.forget()
    done = publisher.run(*arguments, reuse_staged=True)
    assert f"Space {SPACE}: the Gradio app, because org has a paid plan" in done.stdout
    assert hub.repository(SPACE, "space").sdk == "gradio"


# names


@pytest.mark.parametrize("space", [MODEL, PINOT])
def test_a_space_may_have_the_name_of_a_model(hub: HubServer, publisher: Publisher, work: Path, space: str) -> None:
    hub.fault = lambda number, request: (
        Fault("refuse", 403) if "spaces" in request.path and "commit" in str(request) else None
    )
    assert "to resume: python " in publisher.run(*everything(work, space), reuse_staged=True).refused()
    hub.fault = lambda number, request: None
    publisher.run(*everything(work, space), reuse_staged=True).succeeded()
    assert hub.repository(space, "space").files()


def test_a_renamed_repository_is_refused_with_its_name(hub: HubServer, publisher: Publisher, work: Path) -> None:
    publisher.run(*everything(work), reuse_staged=True).succeeded()
    before = hub.state()
    for name in ("org/Wine-GPT", "Org/wine-gpt"):
        line = publisher.run(work / "run", "--repo", name).refused()
        assert line.startswith(f"model repository {name} is named {MODEL} on the Hub: use that name, or rename it at ")
    assert hub.state() == before
    hub.rename(PINOT, "org/noir")
    line = publisher.run(*everything(work), reuse_staged=True).refused()
    assert line.startswith(f"model repository {PINOT} is named org/noir on the Hub: ")
    assert line.endswith("/org/noir/settings")
    hub.rename(SPACE, "org/new-demo", "space")
    line = publisher.run(work / "run", "--repo", MODEL, "--space", SPACE).refused()
    assert line.startswith(f"Space {SPACE} is named org/new-demo on the Hub: ")
    assert line.endswith("/spaces/org/new-demo/settings")


@pytest.mark.parametrize("owner", ["Org", "SOMEBODY"])
def test_an_account_in_another_case_is_named(publisher: Publisher, work: Path, owner: str) -> None:
    line = publisher.run(work / "run", "--repo", f"{owner}/new", reuse_staged=True).refused()
    known = owner.lower()
    assert line == f"model repository {owner}/new: the account is named {known} on the Hub: use {known}/new"


# private repositories


def test_the_space_of_a_private_model_needs_a_secret(hub: HubServer, publisher: Publisher, work: Path) -> None:
    arguments = [work / "run", "--repo", MODEL, "--space", SPACE, "--private"]
    done = publisher.run(*arguments, reuse_staged=True)
    done.succeeded()
    assert f"Space {SPACE} can't load {MODEL}, which is private, without a secret: add HF_TOKEN" in done.stderr
    assert f"at {hub.url}/spaces/{SPACE}/settings" in done.stderr
    hub.secrets[SPACE] = ["HF_TOKEN"]
    done = publisher.run(*arguments, reuse_staged=True)
    done.succeeded()
    assert "secret" not in done.stderr


def test_an_organization_may_have_new_repositories_private(hub: HubServer, publisher: Publisher, work: Path) -> None:
    hub.private_by_default = True
    done = publisher.run(work / "run", "--repo", MODEL, "--space", SPACE, reuse_staged=True)
    done.succeeded()
    assert all(repository.private for repository in hub.repositories.values())
    assert f"Space {SPACE} can't load {MODEL}, which is private, without a secret: add HF_TOKEN" in done.stderr


def test_nothing_becomes_public_by_mistake(hub: HubServer, publisher: Publisher, work: Path) -> None:
    publisher.run(work / "run", "--repo", MODEL, "--private", reuse_staged=True).succeeded()
    line = publisher.run(*everything(work), reuse_staged=True).refused()
    model, adapter = f"model repository {MODEL}", f"model repository {PINOT}"
    assert line == f"{model} is private, but {adapter} may become public: add --private"
    hub.repository(MODEL).private = False
    before = hub.state()
    line = publisher.run(*everything(work), "--private", reuse_staged=True).refused()
    assert line.startswith(f"{model} is public, and --private makes only new repositories private: ")
    assert f"{hub.url}/{MODEL}/settings" in line
    assert hub.state() == before


# collections


def test_the_collection_is_checked_before_anything_is_published(
    hub: HubServer, publisher: Publisher, work: Path
) -> None:
    arguments = [work / "run", "--repo", MODEL]
    for title in ("", "  ", "x" * 61):
        line = publisher.run(*arguments, "--collection", title, reuse_staged=True).refused()
        assert line == f"--collection: a title has 1 to 60 characters, not {len(title)}"
    assert hub.repositories == {}
    publisher.run(*arguments, reuse_staged=True).succeeded()
    hub.fault = lambda number, request: Fault("refuse", 403) if request.path.endswith("collections") else None
    publisher.run(*arguments, "--collection", "x", reuse_staged=True, token=SCOPED)
    line = publisher.run(*arguments, "--create_pr", "--collection", "x", reuse_staged=True, token=UNSCOPED).refused()
    assert line.startswith("collection x: the token has no write permission for collections (collection.write) of org")
