from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from signal import SIGKILL

import pytest
import torch

from fewshot.data.storage import load_tensors
from fewshot.data.synthetic import Synthetic
from fewshot.hardware import Hardware
from fewshot.model.backbone import Backbone
from fewshot.pretraining.pretrain import Pretrained, pretrain
from fewshot.training.keeping import RESUME
from fewshot.training.stages import NonFiniteLossError
from tests.fewshot.pretraining_cases import CONFIG, make_backbone, pretrain_tiny, pretrain_until_killed, supervise
from tests.fewshot.training_cases import CPU, Death, run_in_process

Trained = tuple[Backbone, Pretrained]


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("backbones")


@pytest.fixture(scope="module")
def trained(cache: Path, tiny_cache: Path) -> Trained:
    return pretrain_tiny(cache, tiny_cache)


def assert_equal(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> None:
    """Every weight is the same to the last bit."""
    assert found.keys() == expected.keys()
    assert [name for name, value in found.items() if not torch.equal(value, expected[name])] == []


def test_loss_falls_and_held_in_classes_are_told_apart(trained: Trained) -> None:
    losses, miou = trained[1].losses, trained[1].miou
    assert len(losses) == 30
    assert sum(losses[-5:]) < 0.8 * sum(losses[:5])
    assert miou is not None
    assert 0 < miou < 100


def test_the_file_holds_the_backbone_and_no_classifier(trained: Trained) -> None:
    backbone, result = trained
    assert_equal(load_tensors(result.path), backbone.state_dict())


def test_the_backbone_is_left_frozen(trained: Trained) -> None:
    backbone, _ = trained
    assert not any(weight.requires_grad for weight in backbone.parameters())
    assert not any(module.training for module in backbone.modules())


def test_same_training_is_read_from_the_cache(trained: Trained, cache: Path, tiny_cache: Path) -> None:
    backbone, again = pretrain_tiny(cache, tiny_cache)
    assert again == replace(trained[1], losses=(), reused=True)
    assert not trained[1].reused
    assert_equal(backbone.state_dict(), trained[0].state_dict())
    assert not any(weight.requires_grad for weight in backbone.parameters())


def test_a_finished_training_keeps_no_state_to_resume_from(trained: Trained) -> None:
    assert not (trained[1].path.parent / RESUME).exists()


def test_a_damaged_backbone_is_made_again(trained: Trained, tiny_cache: Path, tmp_path: Path) -> None:
    _, first = pretrain_tiny(tmp_path, tiny_cache)
    first.path.write_bytes(first.path.read_bytes()[:-8])
    backbone, again = pretrain_tiny(tmp_path, tiny_cache)
    assert not again.reused
    assert_equal(backbone.state_dict(), trained[0].state_dict())


def test_same_seed_trains_the_same_backbone(trained: Trained, tiny_cache: Path, tmp_path: Path) -> None:
    torch.manual_seed(99)
    backbone, again = pretrain_tiny(tmp_path, tiny_cache)
    assert again.losses == trained[1].losses
    assert_equal(backbone.state_dict(), trained[0].state_dict())


def test_who_reads_the_images_changes_nothing(trained: Trained, tiny_cache: Path, tmp_path: Path) -> None:
    backbone, _ = pretrain_tiny(tmp_path, tiny_cache, hardware=replace(CPU, workers=2))
    assert_equal(backbone.state_dict(), trained[0].state_dict())


def test_another_training_is_not_mistaken_for_this_one(trained: Trained, cache: Path, tiny_cache: Path) -> None:
    short = replace(CONFIG, steps=1)
    paths = {trained[1].path}
    for config, seed, backbone in [
        (short, 0, make_backbone()),
        (short, 1, make_backbone()),
        (replace(short, momentum=0.8), 0, make_backbone()),
        (short, 0, make_backbone(1)),
    ]:
        result = pretrain_tiny(cache, tiny_cache, config, seed=seed, backbone=backbone)[1]
        assert not result.reused
        paths.add(result.path)
    assert len(paths) == 5


def test_a_backbone_of_low_precision_is_not_mistaken_for_one_of_full(
    trained: Trained, cache: Path, tiny_cache: Path
) -> None:
    rough = pretrain_tiny(cache, tiny_cache, hardware=replace(CPU, precision="bf16"))[1]
    assert not rough.reused
    assert rough.path != trained[1].path


def test_how_often_something_is_looked_at_makes_no_other_training(
    trained: Trained, cache: Path, tiny_cache: Path
) -> None:
    assert pretrain_tiny(cache, tiny_cache, replace(CONFIG, checkpoint_every=3, check_images=1))[1].reused


def test_the_pyramid_and_frozen_statistics_train_too(tiny_cache: Path, tmp_path: Path) -> None:
    config = replace(CONFIG, head="ppm", batch_norm="frozen", steps=3, check_images=0)
    before = deepcopy(make_backbone().state_dict())
    backbone, result = pretrain_tiny(tmp_path, tiny_cache, config)
    changed = {name for name, value in backbone.state_dict().items() if not torch.equal(value, before[name])}
    assert result.miou is None
    assert changed
    assert not [name for name in changed if "bn" in name or "running" in name]


def test_statistics_that_learn_move(trained: Trained) -> None:
    before = make_backbone().state_dict()
    assert not torch.equal(trained[0].state_dict()["bn1.running_mean"], before["bn1.running_mean"])
    assert not torch.equal(trained[0].state_dict()["bn1.weight"], before["bn1.weight"])


DEATHS = {
    "between two states": [Death(step=20)],
    "twice": [Death(step=3), Death(step=27)],
    "while a state is written": [Death(writing=2)],
    "while the backbone is written": [Death(writing=5)],
}


@pytest.mark.parametrize("deaths", DEATHS.values(), ids=DEATHS)
def test_a_killed_training_ends_with_the_backbone_of_an_uninterrupted_one(
    deaths: list[Death], trained: Trained, tiny_cache: Path, tmp_path: Path
) -> None:
    for death in deaths:
        assert run_in_process(pretrain_until_killed, tmp_path, tiny_cache, death) == -SIGKILL
    backbone, result = pretrain_tiny(tmp_path, tiny_cache)
    assert (result.losses, result.miou) == (trained[1].losses, trained[1].miou)
    assert_equal(backbone.state_dict(), trained[0].state_dict())
    assert not list(tmp_path.rglob("*.part"))


def test_training_that_breaks_down_is_stopped_and_leaves_no_backbone(tiny_cache: Path, tmp_path: Path) -> None:
    reckless = replace(CONFIG, learning_rate=1e30)
    with pytest.raises(NonFiniteLossError, match=r"of the supervised stage.*its batch is in .*\. Lower the learning"):
        pretrain_tiny(tmp_path, tiny_cache, reckless)
    assert not list(tmp_path.rglob("backbone.safetensors"))


def test_two_conventions_are_refused(tiny_data: Synthetic, tiny_cache: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"Found 'exclude' and 'keep'\. Make the supervision with"):
        pretrain(make_backbone(), supervise(tiny_cache), replace(CONFIG, convention="keep"), seed=0, cache=tmp_path)


def test_processes_without_gpus_cannot_share_statistics(tiny_cache: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"Found \d+ such layers for 2 processes on CPUs\. Train in one process, or"):
        pretrain_tiny(tmp_path, tiny_cache, hardware=Hardware(accelerator="cpu", devices=2))
