"""The command line: `fewshot demo`, `fewshot predict` and `fewshot index`. Unknown options are errors."""

import sys
from collections.abc import Sequence
from pathlib import Path

from jsonargparse import ArgumentParser, Namespace

from fewshot.demo import DemoConfig, run_demo
from fewshot.indexing import build_index_parser, index_data
from fewshot.report import Run, list_scores
from fewshot.segmenter import Segmentation, Segmenter
from fewshot.visualisation import draw_matching, draw_panels, save_figure, take_panel


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command that the arguments name.

    Args:
        arguments: In place of those of the process.
    """
    parser = build_parser()
    options = parser.instantiate(parser.parse_args(arguments))
    if options["command"] == "demo":
        config = read_demo_config(options["demo"])
        print(f"{format_scores(run_demo(config))}\nReport: {config.output / 'index.html'}")
        return
    try:
        if options["command"] == "index":
            print(index_data(options["index"]))
        else:
            print("\n".join(str(path) for path in predict(options["predict"])))
    except (OSError, ValueError) as error:
        sys.exit(f"fewshot {options['command']}: {error}")


def build_parser() -> ArgumentParser:
    """Make the parser out of the signatures of what the commands run."""
    # An abbreviation would be accepted in silence, and another option may come to share it.
    description = "Few-shot segmentation by partial optimal transport."
    parser = ArgumentParser(prog="fewshot", description=description, allow_abbrev=False)
    commands = parser.add_subcommands(dest="command")
    demo = ArgumentParser(description="Train a small CMNet on synthetic episodes, score it on unseen classes.")
    demo.add_argument("--config", action="config", help="YAML file of these options")
    demo.add_class_arguments(DemoConfig)
    commands.add_subcommand("demo", demo, help="train, evaluate and report on synthetic data, in minutes")
    prediction = ArgumentParser(description="Segment in the query what the masks show in the supports.")
    prediction.add_argument("--checkpoint", type=Path, required=True, help="weights, such as the demo leaves")
    prediction.add_argument(
        "--support", type=Path, nargs="+", required=True, help="image mask [image mask ...]: labelled examples"
    )
    prediction.add_argument("--query", type=Path, required=True, help="image to segment, of any size")
    prediction.add_argument("--output", type=Path, default=Path("prediction"), help="folder for mask and pictures")
    prediction.add_argument("--label", type=int | None, default=None, help="which label of the masks is the object")
    commands.add_subcommand("predict", prediction, help="segment your own image, given labelled examples")
    commands.add_subcommand("index", build_index_parser(), help="make or verify the index of a data set, and count")
    return parser


def read_demo_config(options: Namespace) -> DemoConfig:
    """Turn parsed options into the configuration that they are the fields of."""
    values = vars(options)
    return DemoConfig(**{name: values[name] for name in DemoConfig.__dataclass_fields__})


def predict(options: Namespace) -> list[Path]:
    """Segment the query and write mask, overlay and matching.

    Args:
        options: As `build_parser` describes them.

    Returns:
        The files that were written.

    Raises:
        ValueError: The supports do not come in pairs, or an image or mask cannot be used.
        FileNotFoundError: A file is missing.
    """
    supports: list[Path] = options.support
    if len(supports) % 2:
        raise ValueError(
            f"`--support` must be pairs of an image and its mask. Found {len(supports)} files. Give each image "
            f"followed by its mask."
        )
    segmenter = Segmenter.from_checkpoint(options.checkpoint)
    pairs = list(zip(supports[::2], supports[1::2], strict=True))
    return write_prediction(segmenter.predict(options.query, pairs, label=options.label), options.output)


def write_prediction(found: Segmentation, output: Path) -> list[Path]:
    """Write a prediction: the mask at the query's own size, and pictures of what the network saw.

    Returns:
        The files that were written.
    """
    output.mkdir(parents=True, exist_ok=True)
    paths = [output / "mask.png", output / "overview.png"]
    found.to_image().save(paths[0])
    panels = [
        take_panel(found.episode, found.prediction, shot=shot) for shot in range(found.episode.support_masks.shape[1])
    ]
    save_figure(draw_panels(panels), paths[1])
    if found.prediction.plan is not None:
        paths.append(output / "matching.png")
        save_figure(draw_matching(panels[0], found.prediction), paths[2])
    return paths


def format_scores(run: Run) -> str:
    """Lay out the scores of a run as a table for the terminal."""
    scores = {name: list_scores(row) for name, row in run.rows.items()}
    columns = list(next(iter(scores.values())))
    width = max(len(name) for name in scores)
    lines = ["  ".join([" " * width, *columns])]
    for name, row in scores.items():
        lines.append("  ".join([name.ljust(width), *(f"{row[column]:{len(column)}.1f}" for column in columns)]))
    return "\n".join(lines)
