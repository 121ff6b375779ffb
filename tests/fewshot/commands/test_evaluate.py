"""`fewshot evaluate`: a trained network on a fold of the same data or of others, and never by accident on its own."""

import shutil
from pathlib import Path

import pytest

from fewshot.checkpoint import load_checkpoint
from fewshot.cli import main
from fewshot.data.fitting import Fit
from fewshot.data.folder import Folder
from fewshot.evaluation.results import Result, read_result
from fewshot.processes import find_rank
from fewshot.records import REPORT, RESULT
from tests.fewshot.commands.conftest import OwnRun
from tests.fewshot.training_cases import be_rank, find_port, run_in_processes

SIZES = ("--evaluation.shots=[1,2]", "--evaluation.episodes=8", "--evaluation.seeds=[321]", "--evaluation.order=class")


@pytest.fixture(scope="module")
def elsewhere(photographs: Folder, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Another data set: fold 1 holds out `blue`, which it shares with the training, and `plate`."""
    root = tmp_path_factory.mktemp("elsewhere")
    for name in ("images", "masks"):
        shutil.copytree(photographs.root / name, root / name)
    (root / "classes.txt").write_text("cup\nmug\nblue\nplate\n", encoding="utf-8")
    options = ["--data=Folder", f"--data.root={root}", f"--data.index={root / 'index.json'}", "--data.folds=2"]
    return [*options, "--fold=1"]


def evaluation_words(run: OwnRun, output: Path, *options: str) -> list[str]:
    words = ["evaluate", f"--checkpoint={run.weights}", f"--output={output}", "--evaluation.workers=0", *SIZES]
    return [*words, *options]


def evaluate(run: OwnRun, output: Path, *options: str) -> Result:
    main(evaluation_words(run, output, *options))
    return read_result(output / RESULT)


def test_its_own_fold_gives_the_scores_of_the_run(
    own_run: OwnRun, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found, trained = evaluate(own_run, tmp_path, *own_run.data), read_result(own_run.output / RESULT)
    said = capsys.readouterr().out
    assert [run.episode_hash for run in found.runs] == [run.episode_hash for run in trained.runs]
    for one, other in zip(found.runs, trained.runs, strict=True):
        # The run's features were rounded to be kept.
        assert one.scores.fb_iou == pytest.approx(other.scores.fb_iou, abs=0.5)
    assert found.network == trained.network
    assert found.origin.settings == trained.origin.settings
    assert (found.origin.selection, found.origin.convention) == ("file last.safetensors", "keep")
    assert f"{found.summarise(2, 'fb_iou').mean:.1f}" in said
    page = (tmp_path / REPORT).read_text(encoding="utf-8")
    assert "Scores of last.safetensors on fold 0 of Folder." in page
    assert "fewshot evaluate" in page


def evaluate_on_rank(rank: int, port: int, words: list[str]) -> None:
    be_rank(rank, port)
    main(words)
    assert find_rank() == (rank, 2)


def test_two_processes_share_the_episodes_and_give_the_scores_of_one(own_run: OwnRun, tmp_path: Path) -> None:
    # Three batches of episodes: two for one process, one for the other.
    options = [*own_run.data, "--evaluation.batch_size=3", f"--cache={tmp_path / 'cache'}"]
    port, words = find_port(), evaluation_words(own_run, tmp_path / "shared", *options)
    assert run_in_processes([(evaluate_on_rank, (rank, port, words)) for rank in range(2)]) == [0, 0]
    shared, alone = read_result(tmp_path / "shared" / RESULT), evaluate(own_run, tmp_path / "alone", *options)
    assert [(run.scores, run.episodes) for run in shared.runs] == [(run.scores, run.episodes) for run in alone.runs]


def test_with_the_features_of_the_run_the_scores_are_those_of_the_run(own_run: OwnRun, tmp_path: Path) -> None:
    cache = own_run.output.parent / "cache"
    before = {path: path.stat().st_mtime_ns for path in cache.rglob("features-*")}
    found, trained = (
        evaluate(own_run, tmp_path, *own_run.data, f"--cache={cache}", "--evaluation.batch_size=20"),
        read_result(own_run.output / RESULT),
    )
    assert [(run.scores, run.episodes) for run in found.runs] == [(run.scores, run.episodes) for run in trained.runs]
    assert {path: path.stat().st_mtime_ns for path in cache.rglob("features-*")} == before


def test_classes_of_the_training_are_refused_by_name(own_run: OwnRun, tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"Found blue, grey among those of its training\. Evaluate on the fold that"):
        evaluate(own_run, tmp_path / "out", *own_run.data, "--fold=1")
    assert not (tmp_path / "out").exists()


def test_a_class_that_other_data_share_with_the_training_is_refused(
    own_run: OwnRun, elsewhere: list[str], tmp_path: Path
) -> None:
    with pytest.raises(SystemExit, match=r"Found blue among .* by `--seen exclude`, or keep them by `--seen keep`"):
        evaluate(own_run, tmp_path, *elsewhere)


@pytest.mark.parametrize(("seen", "scored"), [("exclude", ["4"]), ("keep", ["3", "4"])])
def test_classes_of_the_training_are_left_out_or_kept_as_asked(
    seen: str, scored: list[str], own_run: OwnRun, elsewhere: list[str], tmp_path: Path
) -> None:
    found = evaluate(own_run, tmp_path, *elsewhere, f"--seen={seen}")
    assert list(found.data["images_of"]) == scored
    assert found.data["held_out"]["4"] == "plate"
    assert [tuple(run.scores.class_iou) for run in found.runs] == [tuple(int(one) for one in scored)] * 2
    assert found.protocol["exclude"] == (["blue", "grey"] if seen == "exclude" else [])


def test_something_must_be_left_to_evaluate_on(own_run: OwnRun, tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"At least one class must be left .* `exclude` names all 2 of fold 1"):
        evaluate(own_run, tmp_path, *own_run.data, "--fold=1", "--seen=exclude")


@pytest.mark.parametrize(
    ("options", "fit"),
    [
        ([], {"size": 32, "mode": "square"}),
        (["--evaluation.fit.size=32", "--evaluation.fit.mode=square"], {"size": 32, "mode": "square"}),
        (["--fit=asked", "--evaluation.fit.size=40"], {"size": 40, "mode": "pad"}),
    ],
    ids=["nothing said", "as trained", "asked for"],
)
def test_images_are_as_large_as_trained_on_unless_asked_otherwise(
    options: list[str], fit: dict[str, object], own_run: OwnRun, tmp_path: Path
) -> None:
    assert load_checkpoint(own_run.weights).fit == Fit(32, "square")
    assert evaluate(own_run, tmp_path, *own_run.data, *options).protocol["fit"] == fit


@pytest.mark.parametrize("size", [40, Fit().size], ids=["another", "the default"])
def test_a_size_that_would_not_be_taken_is_refused(size: int, own_run: OwnRun, tmp_path: Path) -> None:
    message = rf"must go with `--fit asked`\. Found Fit\(size={size}, mode='pad'\) for .*size=32.*\. Add `--fit asked`"
    with pytest.raises(SystemExit, match=message):
        evaluate(own_run, tmp_path, *own_run.data, f"--evaluation.fit.size={size}")


def test_a_size_must_be_asked_for_where_one_is_to_be_taken(own_run: OwnRun, tmp_path: Path) -> None:
    with pytest.raises(
        SystemExit, match=r"must go with `--evaluation\.fit`\. Found none for .*size=32.*\. Add `--eval"
    ):
        evaluate(own_run, tmp_path, *own_run.data, "--fit=asked")


def test_the_result_of_a_run_is_not_overwritten(own_run: OwnRun) -> None:
    before = (own_run.output / RESULT).read_bytes()
    with pytest.raises(
        SystemExit, match=r"Found that of a run, whose result would be overwritten, in .*Choose another"
    ):
        evaluate(own_run, own_run.output, *own_run.data)
    assert (own_run.output / RESULT).read_bytes() == before


def test_episodes_and_supports_are_as_asked_for(own_run: OwnRun, tmp_path: Path) -> None:
    options = ["--evaluation.annotation.kind=box", f"--evaluation.episodes_folder={tmp_path / 'lists'}"]
    found = evaluate(own_run, tmp_path / "drawn", *own_run.data, *options)
    assert found.protocol["annotation"]["kind"] == "box"
    given = f"--evaluation.episodes_file={tmp_path / 'lists' / 'episodes-2shot-seed321.json'}"
    again = evaluate(own_run, tmp_path / "given", *own_run.data, "--evaluation.annotation.kind=box", given)
    assert again.runs[1].episode_hash == found.runs[1].episode_hash
    assert again.runs[1].episodes == found.runs[1].episodes
