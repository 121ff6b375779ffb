from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from fewshot.data.folds import Fold
from fewshot.data.storage import DamagedFileError, save_tensors
from fewshot.data.synthetic import Synthetic
from fewshot.model.backbone import build_backbone, load_backbone_weights
from fewshot.pretraining.pretrain import Supervision, load_stage1
from fewshot.pretraining.stage1 import LeakageError, mean_iou, read_notes, save_stage1
from tests.fewshot.pretraining_cases import make_backbone, supervise

IOU = [80.0, 40.0, None, 60.0]


@pytest.fixture
def supervision(tiny_cache: Path) -> Supervision:
    return supervise(tiny_cache)


@pytest.fixture
def path(supervision: Supervision, tmp_path: Path) -> Path:
    path = tmp_path / "backbone.safetensors"
    save_stage1(path, make_backbone(), supervision, recipe='{"seed": 4}', iou=IOU)
    return path


def test_a_backbone_of_the_same_fold_is_taken(path: Path, supervision: Supervision) -> None:
    backbone = make_backbone(1)
    notes = load_stage1(path, backbone, supervision)
    expected = make_backbone().state_dict()
    assert all(torch.equal(value, expected[name]) for name, value in backbone.state_dict().items())
    assert notes == read_notes(path)


def test_a_file_says_what_its_backbone_has_seen_and_how_it_was_made(path: Path, supervision: Supervision) -> None:
    notes = read_notes(path)
    assert notes["supervision"] == supervision.describe()
    assert notes["recipe"] == {"seed": 4}
    assert notes["miou"] == 60.0
    assert notes["iou"] == {"background": 80.0, "class 1": 40.0, "class 2": None, "class 3": 60.0}
    assert notes["versions"]["torch"] == torch.__version__


def test_a_backbone_is_a_file_of_weights_for_anybody(path: Path) -> None:
    backbone = make_backbone(1)
    load_backbone_weights(backbone, path)
    assert torch.equal(backbone.state_dict()["conv1.weight"], make_backbone().state_dict()["conv1.weight"])


CHANGES: dict[str, Callable[[Supervision], Supervision]] = {
    "fold": lambda own: replace(own, fold=Fold(1, own.fold.held_in, own.fold.held_out)),
    "held_in": lambda own: replace(own, fold=Fold(0, (2, 3), own.fold.held_out)),
    "held_out": lambda own: replace(own, fold=Fold(0, own.fold.held_in, (4,))),
    "convention": lambda own: replace(own, convention="keep"),
    "lists": lambda own: replace(own, index=replace(own.index, train=replace(own.index.train, digest="other"))),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_backbone_that_may_have_seen_what_is_tested_is_refused_and_nothing_is_loaded(
    name: str, path: Path, supervision: Supervision
) -> None:
    backbone = make_backbone(1)
    with pytest.raises(LeakageError, match=rf"Found `{name} = .* where the run has .*\. Train a backbone for this run"):
        load_stage1(path, backbone, CHANGES[name](supervision))
    assert torch.equal(backbone.state_dict()["conv1.weight"], make_backbone(1).state_dict()["conv1.weight"])


def test_a_backbone_of_another_data_set_is_refused(path: Path, supervision: Supervision, tiny_data: Synthetic) -> None:
    with pytest.raises(LeakageError, match=r"Found `data = Veiled` in .* where the run has Synthetic\. Train"):
        load_stage1(path, make_backbone(1), replace(supervision, dataset=tiny_data))


def test_weights_of_unknown_origin_are_refused(supervision: Supervision, tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    save_tensors(path, make_backbone().state_dict())
    with pytest.raises(ValueError, match=r"must be a file of format 1\. Found format None in .*\. Train one by"):
        load_stage1(path, make_backbone(1), supervision)


def test_something_else_than_tensors_is_refused(supervision: Supervision, tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    path.write_text("no tensors")
    with pytest.raises(ValueError, match=r"Found format None in .*\. Train one by `fewshot pretrain`"):
        load_stage1(path, make_backbone(1), supervision)


def test_a_missing_file_is_named(supervision: Supervision, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"Found nothing at .*nowhere\. Train one by `fewshot pretrain`"):
        load_stage1(tmp_path / "nowhere", make_backbone(1), supervision)


def test_an_altered_file_is_refused(path: Path, supervision: Supervision) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(DamagedFileError, match=r"Found other content in"):
        load_stage1(path, make_backbone(1), supervision)


def test_a_backbone_of_another_kind_is_refused(path: Path, supervision: Supervision) -> None:
    with pytest.raises(ValueError, match=r"must have the backbone's names and shapes\. Found"):
        load_stage1(path, build_backbone("mobilenetv2"), supervision)


def test_classes_that_are_nowhere_to_be_seen_do_not_count() -> None:
    assert mean_iou(IOU) == 60.0
    assert mean_iou([None]) is None
    assert mean_iou([]) is None
