import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fewshot.cli import build_parser, format_scores, main, read_demo_config
from fewshot.demo import PARTIAL, DemoConfig, checkpoint_path
from fewshot.reporting.report import Run


@pytest.fixture
def predict_arguments(tiny_demo: DemoConfig, tiny_run: Run, tmp_path: Path) -> list[str]:
    """Predict on the example that the report brings along."""
    assert tiny_run.rows
    example = tiny_demo.output / "example"
    return [
        "predict",
        f"--checkpoint={checkpoint_path(tiny_demo.output, PARTIAL)}",
        "--support",
        str(example / "support.png"),
        str(example / "support_mask.png"),
        f"--query={example / 'query.png'}",
        f"--output={tmp_path / 'prediction'}",
    ]


def test_predict_writes_a_mask_of_the_querys_size_and_pictures(
    predict_arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(predict_arguments)
    folder = tmp_path / "prediction"
    mask = np.asarray(Image.open(folder / "mask.png"))
    assert mask.shape == (64, 64)
    assert set(np.unique(mask)) <= {0, 255}
    assert sorted(path.name for path in folder.iterdir()) == ["mask.png", "matching.png", "overview.png"]
    assert capsys.readouterr().out.split() == [str(folder / f"{name}.png") for name in ("mask", "overview", "matching")]


def test_predict_takes_several_supports(predict_arguments: list[str], tmp_path: Path) -> None:
    pair = predict_arguments[3:5]
    main([*predict_arguments[:5], *pair, *pair, *predict_arguments[5:]])
    with Image.open(tmp_path / "prediction" / "overview.png") as overview:
        assert overview.height > overview.width / 2, "one row for each support"


def test_predict_refuses_a_support_without_mask(predict_arguments: list[str]) -> None:
    del predict_arguments[4]
    with pytest.raises(SystemExit, match=r"`--support` must be pairs .* Found 1 files\. Give each image followed by"):
        main(predict_arguments)


def test_predict_names_a_file_that_is_not_there(predict_arguments: list[str]) -> None:
    with pytest.raises(SystemExit, match=r"fewshot predict: .*nowhere"):
        main([*predict_arguments, "--checkpoint=nowhere.safetensors"])


@pytest.mark.parametrize(
    "arguments",
    [["demo", "--sede=1"], ["demo", "--see=1"], ["demo", "--training.stesp=1"], ["predict", "--qeury=a.png"], ["dmeo"]],
    ids=str,
)
def test_unknown_options_and_commands_are_errors(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        main(arguments)
    assert exit_.value.code == 2
    assert arguments[-1].split("=")[0].strip("-") in capsys.readouterr().err


def test_unknown_key_of_a_configuration_file_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "demo.yaml").write_text("training:\n  stesp: 3\n", encoding="utf-8")
    with pytest.raises(SystemExit):
        main(["demo", f"--config={tmp_path / 'demo.yaml'}"])
    assert "stesp" in capsys.readouterr().err


def test_demo_without_options_is_the_default_configuration() -> None:
    parser = build_parser()
    options = parser.instantiate(parser.parse_args(["demo"]))
    assert read_demo_config(options["demo"]) == DemoConfig()


def test_options_override_the_configuration_file(tmp_path: Path) -> None:
    (tmp_path / "demo.yaml").write_text("seed: 4\ntraining:\n  steps: 3\n  warmup: 2\n", encoding="utf-8")
    parser = build_parser()
    arguments = ["demo", f"--config={tmp_path / 'demo.yaml'}", "--training.steps=9", "--output=elsewhere"]
    config = read_demo_config(parser.instantiate(parser.parse_args(arguments))["demo"])
    assert (config.seed, config.training.steps, config.training.warmup) == (4, 9, 2)
    assert config.output == Path("elsewhere")


def test_values_of_the_wrong_kind_are_errors(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["demo", "--training.steps=many"])
    assert "many" in capsys.readouterr().err


def test_scores_are_laid_out_as_a_table(tiny_run: Run) -> None:
    lines = format_scores(tiny_run).splitlines()
    assert len(lines) == 3
    assert len({len(line) for line in lines}) == 1, "columns are aligned"
    assert f"{tiny_run.rows[PARTIAL].evaluations[2].scores.miou:.1f}" in lines[2]


def test_module_runs_as_a_command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["fewshot", "--help"])
    with pytest.raises(SystemExit) as exit_:
        runpy.run_module("fewshot", run_name="__main__")
    assert exit_.value.code == 0
    shown = capsys.readouterr().out
    assert "demo" in shown
    assert "predict" in shown
