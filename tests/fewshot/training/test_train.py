from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from fewshot.checkpoint import load_checkpoint
from fewshot.data.augmentation import Augmentation
from fewshot.data.episodes import TrainingEpisodes
from fewshot.data.storage import load_tensors
from fewshot.data.synthetic import Synthetic
from fewshot.hardware import Hardware
from fewshot.model.cmnet import CMNet
from fewshot.model.matching import MatchingConfig
from fewshot.training.batches import FeatureBatches, PixelBatches
from fewshot.training.train import NonFiniteLossError, TrainingConfig, train
from tests.fewshot.training_cases import CPU, NETWORK, make_batches, make_network, run_tiny, save

CONFIG = TrainingConfig(steps=4, batch_size=2, learning_rate=0.05)
Weights = dict[str, torch.Tensor]


@pytest.fixture
def network() -> CMNet:
    return make_network()


@pytest.fixture
def batches(network: CMNet, tiny_cache: Path) -> FeatureBatches:
    return make_batches(network, tiny_cache)


@pytest.fixture
def pixels(batches: FeatureBatches, tiny_data: Synthetic) -> PixelBatches:
    return PixelBatches(TrainingEpisodes(tiny_data, batches.sampler, Augmentation(size=48), seed=2, length=8))


def copy_weights(network: CMNet) -> Weights:
    return {name: value.clone() for name, value in network.state_dict().items()}


def assert_equal(found: Weights, expected: Weights) -> None:
    """Every weight is the same to the last bit."""
    assert found.keys() == expected.keys()
    assert [name for name, value in found.items() if not torch.equal(value, expected[name])] == []


def test_loss_falls_on_a_few_classes(network: CMNet, tiny_cache: Path) -> None:
    config = TrainingConfig(
        steps=60, batch_size=4, optimizer="adamw", learning_rate=3e-3, warmup=5, max_gradient_norm=5.0
    )
    result = train(network, make_batches(network, tiny_cache, config, kind=Synthetic), config, seed=0, hardware=CPU)
    assert len(result.losses) == 60
    assert sum(result.losses[-10:]) < 0.75 * sum(result.losses[:3]) * 10 / 3


def test_frozen_backbone_stays_bit_equal_and_the_network_is_left_in_eval_mode(
    network: CMNet, batches: FeatureBatches
) -> None:
    before = deepcopy(network.backbone.state_dict())
    train(network, batches, CONFIG, seed=0, hardware=CPU)
    assert_equal(network.backbone.state_dict(), before)
    assert not any(module.training for module in network.modules())


@pytest.mark.parametrize("source", ["batches", "pixels"])
def test_everything_behind_the_backbone_learns(source: str, network: CMNet, request: pytest.FixtureRequest) -> None:
    batches = request.getfixturevalue(source)
    before = {name: value.clone() for name, value in network.named_parameters() if value.requires_grad}
    train(network, batches, CONFIG, seed=0, hardware=CPU)
    after = dict(network.named_parameters())
    assert before
    assert [name for name, value in before.items() if torch.equal(after[name], value)] == []


def test_same_seed_trains_the_same_weights(network: CMNet, batches: FeatureBatches) -> None:
    same, other = deepcopy(network), deepcopy(network)
    result = train(network, batches, CONFIG, seed=0, hardware=CPU)
    torch.manual_seed(7)
    assert train(same, batches, CONFIG, seed=0, hardware=CPU) == result
    assert train(other, batches, CONFIG, seed=1, hardware=CPU) != result
    assert_equal(same.state_dict(), copy_weights(network))


def test_who_reads_the_images_changes_nothing(network: CMNet, pixels: PixelBatches) -> None:
    other = deepcopy(network)
    train(network, pixels, CONFIG, seed=0, hardware=CPU)
    train(other, pixels, CONFIG, seed=0, hardware=replace(CPU, workers=2))
    assert_equal(other.state_dict(), copy_weights(network))


def test_two_networks_of_one_source_see_the_same_episodes(
    network: CMNet, batches: FeatureBatches, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[int, ...]] = []
    draw = FeatureBatches.__getitem__

    def note(self: FeatureBatches, numbers: tuple[int, ...]) -> object:
        seen.append(numbers)
        return draw(self, numbers)

    monkeypatch.setattr(FeatureBatches, "__getitem__", note)
    wider = CMNet(replace(NETWORK, width=24))
    wider.backbone.load_state_dict(network.backbone.state_dict())
    train(network, batches, CONFIG, seed=0, hardware=CPU)
    train(wider, batches, CONFIG, seed=0, hardware=CPU)
    assert seen == [(0, 1), (2, 3), (4, 5), (6, 7)] * 2


def test_an_epoch_is_a_round_of_the_pool(network: CMNet, batches: FeatureBatches) -> None:
    config = replace(CONFIG, steps=None, epochs=1, batch_size=5)
    result = train(network, batches, config, seed=0, hardware=CPU)
    assert len(result.losses) == result.selected_step == len(batches.pool.entries) // 5


def test_training_without_a_folder_keeps_nothing(network: CMNet, batches: FeatureBatches) -> None:
    result = train(network, batches, CONFIG, seed=0, hardware=CPU)
    assert result.checkpoints == {}
    assert result.scores == {}


def test_the_last_weights_are_left_in_a_file_for_users(tiny_cache: Path, tmp_path: Path) -> None:
    network, result = run_tiny(tmp_path, tiny_cache, replace(CONFIG, keep_every=2))
    assert result.checkpoints.keys() == {"last", "step-0000002", "step-0000004"}
    assert_equal(load_checkpoint(result.checkpoints["last"]).model.state_dict(), copy_weights(network))
    assert_equal(load_tensors(result.checkpoints["step-0000004"]), copy_weights(network))
    assert not torch.equal(
        load_tensors(result.checkpoints["step-0000002"])["reduction.0.weight"],
        network.state_dict()["reduction.0.weight"],
    )


@pytest.mark.parametrize("select", ["base_val", "test"])
def test_the_best_weights_are_selected_where_scores_are_asked_for(
    select: str, tiny_cache: Path, tmp_path: Path
) -> None:
    scores = iter([1.0, 3.0, 2.0])
    config = replace(CONFIG, steps=5, select=select, validate_every=2)
    network, result = run_tiny(tmp_path, tiny_cache, config, validate=lambda _: next(scores))
    assert result.scores == {2: 1.0, 4: 3.0, 5: 2.0}
    assert result.selected_step == 4
    assert_equal(load_tensors(result.checkpoints["best"]), copy_weights(network))
    assert load_tensors(result.checkpoints["last"]).keys() == network.state_dict().keys()


def test_scores_alone_do_not_select(tiny_cache: Path) -> None:
    scores = iter([3.0, 1.0])
    _, result = run_tiny(None, tiny_cache, replace(CONFIG, validate_every=2), validate=lambda _: next(scores))
    assert (result.selected_step, result.scores) == (4, {2: 3.0, 4: 1.0})


def test_a_finished_training_gives_its_result_again(tiny_cache: Path, tmp_path: Path) -> None:
    network, result = run_tiny(tmp_path, tiny_cache)
    again, same = run_tiny(tmp_path, tiny_cache)
    assert same == result
    assert_equal(again.state_dict(), copy_weights(network))


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"seed": 8}, "seed"),
        ({"config": replace(CONFIG, shot=2)}, r"recipe\.training\.shot`, `source\.episodes"),
        ({"network": replace(NETWORK, dropout=0.2)}, r"recipe\.network\.dropout"),
        ({"hardware": replace(CPU, precision="bf16")}, r"recipe\.precision"),
    ],
    ids=["seed", "configuration", "network", "precision"],
)
def test_another_training_is_not_resumed(change: dict, named: str, tiny_cache: Path, tmp_path: Path) -> None:
    run_tiny(tmp_path, tiny_cache, CONFIG)
    config = change.pop("config", CONFIG)
    with pytest.raises(
        ValueError, match=rf"Found another value of `{named}` in .*\. Restore it, choose another folder"
    ):
        run_tiny(tmp_path, tiny_cache, config, **change)


def test_another_training_may_start_anew_in_the_same_folder(tiny_cache: Path, tmp_path: Path) -> None:
    run_tiny(tmp_path, tiny_cache, CONFIG)
    _, result = run_tiny(tmp_path, tiny_cache, CONFIG, seed=8, resume=False)
    assert result == run_tiny(tmp_path, tiny_cache, CONFIG, seed=8)[1]


def test_how_often_a_state_is_written_may_change(tiny_cache: Path, tmp_path: Path) -> None:
    _, result = run_tiny(tmp_path, tiny_cache, CONFIG)
    assert run_tiny(tmp_path, tiny_cache, replace(CONFIG, checkpoint_every=1))[1].losses == result.losses


def test_an_episode_whose_loss_is_no_number_is_kept_and_the_weights_are_those_before(
    network: CMNet, batches: FeatureBatches, tmp_path: Path
) -> None:
    batches.store.content.features.mid[:] = float("nan")
    before = copy_weights(network)
    path = tmp_path / "nonfinite-step0-rank0.safetensors"
    with pytest.raises(NonFiniteLossError, match=rf"Found nan at step 0 of episodic training; its batch is in {path}"):
        train(network, batches, CONFIG, seed=0, folder=tmp_path, save=save, hardware=CPU)
    assert_equal(network.state_dict(), before)
    kept = load_tensors(path)
    assert kept["query.mid"].isnan().all()
    assert torch.equal(kept["support_masks"], batches[(0, 1)].support_masks)


@pytest.mark.parametrize("transport", ["none", "partial"])
def test_low_precision_trains_on_finite_numbers_close_to_those_of_full_precision(
    transport: str, tiny_cache: Path
) -> None:
    config = replace(NETWORK, transport=transport, matching=MatchingConfig(max_iter=5), refinement_passes=0)
    full, low = (
        run_tiny(None, tiny_cache, CONFIG, network=config, hardware=Hardware(accelerator="cpu", precision=precision))
        for precision in ("32", "bf16")
    )
    assert all(value.isfinite().all() for value in low[0].state_dict().values())
    assert {value.dtype for value in low[0].parameters()} == {torch.float32}
    # bfloat16 has 8 bits of mantissa.
    assert low[1].losses == pytest.approx(full[1].losses, rel=2**-5)
    assert low[1].losses != full[1].losses


def test_a_folder_without_a_way_to_write_weights_is_refused(
    network: CMNet, batches: FeatureBatches, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=r"`save` must say .* Found None\. Pass `save_checkpoint`"):
        train(network, batches, CONFIG, seed=0, folder=tmp_path, hardware=CPU)


def test_selecting_by_scores_without_scores_is_refused(network: CMNet, batches: FeatureBatches) -> None:
    with pytest.raises(ValueError, match=r"Found `select = 'base_val'` and no `validate`\. Pass a function, or"):
        train(network, batches, replace(CONFIG, select="base_val"), seed=0, hardware=CPU)


def test_too_few_episodes_are_refused_before_anything_is_trained(network: CMNet, pixels: PixelBatches) -> None:
    with pytest.raises(ValueError, match=r"10 in all\. Found 8\. Give the episodes a `length`"):
        train(network, pixels, replace(CONFIG, steps=5), seed=0, hardware=CPU)
