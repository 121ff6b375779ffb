"""`fewshot train`: one command from data to weights, scores and a report, whatever comes in between."""

from pathlib import Path
from signal import SIGKILL

import numpy as np
import pytest
from PIL import Image

from fewshot import records
from fewshot.checkpoint import load_checkpoint
from fewshot.cli import main
from fewshot.commands.options import parse_run, read_run
from fewshot.data.folder import Folder
from fewshot.evaluation.evaluate import evaluate_fold
from fewshot.evaluation.results import Origin, Result, read_result
from fewshot.presets import expand_presets
from fewshot.pretraining.supervision import SupervisedBatches
from fewshot.records import CONFIGURATION, REPORT, RESULT
from fewshot.training.batches import FeatureBatches
from tests.fewshot.commands.conftest import OwnRun
from tests.fewshot.run_cases import command_words
from tests.fewshot.table_cases import SIZES, write_voc
from tests.fewshot.training_cases import Death, be_rank, find_port, run_in_process, run_in_processes


def scores_of(result: Result) -> list[object]:
    return [(run.scores, run.episodes, run.episode_hash) for run in result.runs]


def test_a_run_on_ones_own_photographs_leaves_everything_in_its_folder(own_run: OwnRun) -> None:
    names = {path.name for path in own_run.output.iterdir()}
    assert names == {CONFIGURATION, RESULT, REPORT, "training"}
    result = read_result(own_run.output / RESULT)
    assert list(result.data["held_out"].values()) == ["red", "green"]
    assert load_checkpoint(own_run.weights).trained_on == ("blue", "grey")
    assert "fewshot train --config=photographs" in (own_run.output / REPORT).read_text(encoding="utf-8")


@pytest.mark.parametrize("label", ["mask", "boxes"])
def test_its_weights_segment_a_photograph(label: str, own_run: OwnRun, photographs: Folder, tmp_path: Path) -> None:
    support, query = (photographs.root / "images" / f"{name}.png" for name in ("00", "04"))
    labels = [str(photographs.root / "masks" / "00.png")] if label == "mask" else ["4,4,20,20", "22,2,30,9"]
    words = ["predict", "--checkpoint", str(own_run.weights), "--support", str(support), *labels]
    main([*words, "--query", str(query), "--output", str(tmp_path)])
    with Image.open(tmp_path / "mask.png") as mask, Image.open(query) as photograph:
        assert mask.size == photograph.size
        assert set(np.unique(np.asarray(mask))) <= {0, 255}
    assert (tmp_path / "report.html").is_file()


def test_the_same_command_finds_the_run_finished(
    own_run: OwnRun, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(records, "run", lambda *_: pytest.fail("a finished run was made again"))
    main(own_run.words)
    said = capsys.readouterr().out
    result = read_result(own_run.output / RESULT)
    assert f"{result.summarise(1).mean:.1f}" in said
    assert f"Report: {own_run.output / REPORT}" in said
    main(["train", "--config", str(own_run.output / CONFIGURATION)])
    assert capsys.readouterr().out == said, "the configuration in the folder says it all"


def test_another_command_in_the_same_folder_is_refused(own_run: OwnRun) -> None:
    with pytest.raises(SystemExit, match=r"config\.yaml: `seed` is 321 where 5 is asked for\. Choose another"):
        main([*own_run.words, "--seed=5"])


def train_until_killed(words: list[str], source: type, death: Death, batch_size: int) -> None:
    death.arrange(source, batch_size)
    main(words)


def test_a_command_that_was_killed_gives_the_scores_of_an_uninterrupted_one(tiny_cache: Path, tmp_path: Path) -> None:
    whole = command_words("train", tmp_path / "whole", tiny_cache, "--training.checkpoint_every=2")
    main([*whole, f"--cache={tmp_path / 'first'}"])
    killed = command_words("train", tmp_path / "killed", tiny_cache, "--training.checkpoint_every=2")
    killed += [f"--cache={tmp_path / 'second'}"]
    assert run_in_process(train_until_killed, killed, SupervisedBatches, Death(step=1), 4) == -SIGKILL
    assert run_in_process(train_until_killed, killed, FeatureBatches, Death(step=5), 2) == -SIGKILL
    assert not (tmp_path / "killed" / RESULT).exists()
    main(killed)
    first, second = (read_result(tmp_path / name / RESULT) for name in ("whole", "killed"))
    assert scores_of(first) == scores_of(second)
    assert first.network["weights_sha256"] == second.network["weights_sha256"]


def train_on_rank(rank: int, port: int, words: list[str]) -> None:
    be_rank(rank, port)
    main(words)


def test_two_processes_score_their_weights_as_one_does(tiny_cache: Path, tmp_path: Path) -> None:
    # Three batches of episodes: two for one process, one for the other.
    shared_out = ["--hardware.devices=2", "--evaluation.batch_size=3"]
    words = command_words("train", tmp_path, tiny_cache, "--multi_task=false", *shared_out)
    port = find_port()
    assert run_in_processes([(train_on_rank, (rank, port, words)) for rank in range(2)]) == [0, 0]
    config = read_run(parse_run(expand_presets(words[1:])))
    network = load_checkpoint(tmp_path / "training" / "last.safetensors").model
    alone = evaluate_fold(network, config.data, 0, config.evaluation, origin=Origin("last", "keep"), cache=config.cache)
    shared = read_result(tmp_path / RESULT)
    assert scores_of(shared) == scores_of(alone)
    assert shared.network["weights_sha256"] == alone.network["weights_sha256"]


def test_pfenets_traps_can_be_trained_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "PICTURED_TASKS", 1)
    presets = ["--config=pascal", "--config=on_top/pfenet_compat", "--network.stem=plain"]
    folders = [f"--output={tmp_path / 'run'}", f"--cache={tmp_path / 'cache'}"]
    main(["train", *presets, *write_voc(tmp_path / "VOC2012"), *SIZES, *folders])
    result = read_result(tmp_path / "run" / RESULT)
    assert result.origin.selection == "best mIoU on held-out classes, step 1"
    assert (result.protocol["fit"]["mode"], result.data["rule"]["legacy_class_draw"]) == ("pfenet", True)
    assert not list((tmp_path / "cache").glob("features-*")), "a backbone that drifts has none to keep"


@pytest.mark.parametrize("missing", ["data", "output"])
def test_data_and_folder_must_be_named(missing: str, own_run: OwnRun, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main([word for word in own_run.words if not word.startswith(f"--{missing}")])
    assert f"required: train.{missing}" in capsys.readouterr().err
