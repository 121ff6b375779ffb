import json
import shutil
import subprocess
from pathlib import Path

import pytest
import torch

import fewshot
from fewshot.data.dataset import DataSet
from fewshot.data.folder import Folder
from fewshot.data.index import Index
from fewshot.data.pools import EpisodePool
from fewshot.data.storage import hash_tensors
from fewshot.evaluation.description import (
    compare_settings,
    describe_data,
    describe_environment,
    describe_network,
    find_commit,
)
from fewshot.model.cmnet import CMNet
from tests.fewshot.photographs import build_network

GIT = pytest.mark.skipif(shutil.which("git") is None, reason="there is no git on this machine")


def git(folder: Path, *words: str) -> str:
    identity = ("-c", "user.name=nobody", "-c", "user.email=nobody@localhost")
    return subprocess.run(["git", *identity, *words], cwd=folder, check=True, capture_output=True, text=True).stdout


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    """A folder with one committed file, in a repository."""
    folder = tmp_path / "sources"
    folder.mkdir()
    git(tmp_path, "init", "--quiet")
    (folder / "code.py").write_text("", "utf-8")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "--quiet", "--message", "first")
    return folder


@GIT
def test_commit_is_that_of_the_sources(sources: Path) -> None:
    assert find_commit(sources) == git(sources, "rev-parse", "HEAD").strip()


@GIT
def test_changed_sources_are_marked(sources: Path) -> None:
    commit = find_commit(sources)
    (sources.parent / "notes.txt").write_text("outside", "utf-8")
    assert find_commit(sources) == commit
    (sources / "code.py").write_text("changed", "utf-8")
    assert find_commit(sources) == f"{commit}+changes"


@GIT
def test_packages_installed_inside_somebody_else_s_repository_have_no_commit(sources: Path) -> None:
    installed = sources.parent / "site-packages"
    installed.mkdir()
    (installed / "code.py").write_text("", "utf-8")
    assert find_commit(installed) is None


@GIT
def test_sources_have_no_commit_where_there_is_no_git(sources: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    assert find_commit(sources) is None


def test_environment_can_be_written_as_json() -> None:
    described = describe_environment(torch.device("cpu"))
    assert json.loads(json.dumps(described)) == described
    assert described["device"] == "cpu"
    assert described["threads"] == torch.get_num_threads()
    assert described["versions"]["torch"] == torch.__version__


def test_data_are_described_by_fields_lists_and_classes(
    photographs: Folder, photo_index: Index, photo_pool: EpisodePool
) -> None:
    described = describe_data(photographs, photo_index, photo_pool)
    assert json.loads(json.dumps(described)) == described
    assert described["fields"]["folds"] == 2
    assert described["held_in"] == {"3": "blue", "4": "grey"}
    assert described["images_of"] == {"1": 4, "2": 4}
    assert described["lists"]["train"]["images"] == len(photo_index.train.entries)


def test_data_set_whose_fields_nobody_can_tell_is_refused(
    photographs: Folder, photo_index: Index, photo_pool: EpisodePool
) -> None:
    opaque = type("Opaque", (DataSet,), dict.fromkeys(DataSet.__abstractmethods__))
    with pytest.raises(TypeError, match=r"must be a dataclass, .*\. Found Opaque\. Put `@dataclass\(frozen=True\)`"):
        describe_data(opaque(), photo_index, photo_pool)


def test_network_is_described_by_its_configuration_and_weights(photographs: Folder, network: CMNet) -> None:
    described = describe_network(network)
    assert described["config"]["transport"] == "none"
    assert described["weights_sha256"] == hash_tensors(network.state_dict())
    assert described["backbone_sha256"] == hash_tensors(network.backbone.state_dict())
    other = build_network(photographs)
    with torch.no_grad():
        next(other.reduction.parameters()).add_(1)
    assert describe_network(other)["weights_sha256"] != described["weights_sha256"]
    assert describe_network(other)["backbone_sha256"] == described["backbone_sha256"]


def test_a_change_anywhere_in_the_package_is_noted_beside_the_commit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fewshot.evaluation.description.find_commit", str)
    assert describe_environment(torch.device("cpu"))["commit"] == str(Path(fewshot.__file__).parent)


def test_settings_that_differ_are_named_by_their_place() -> None:
    expected, found = {"a": 1, "b": {"c": 2, "d": [3]}}, {"a": 1, "b": {"c": 4, "d": [3]}, "e": 5}
    assert list(compare_settings(expected, found)) == ["b.c", "e"]
    assert list(compare_settings(expected, json.loads(json.dumps(expected)))) == []
