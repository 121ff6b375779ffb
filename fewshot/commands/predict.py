"""`fewshot predict`: segment one image or a folder of them, given examples labelled by masks or boxes."""

import re
from collections.abc import Sequence
from pathlib import Path

from jsonargparse import ArgumentParser, Namespace
from tqdm import tqdm

from fewshot.data.boxes import Box
from fewshot.data.reading import read_size
from fewshot.evaluation.description import describe_environment
from fewshot.reporting.answers import (
    FILE_NAMES,
    PICTURED,
    AnswerSummary,
    compose_report,
    summarise_answer,
    write_answer,
)
from fewshot.reporting.report import Section, write_report
from fewshot.reporting.sections import making_section
from fewshot.segmenter import Segmenter

REPORT = "report.html"

Support = tuple[Path, Path | list[Box]]

_SUFFIXES = (".jpg", ".jpeg", ".png")
_BOX = re.compile(r"\d+(,\d+){3}")


def build_predict_parser() -> ArgumentParser:
    """Make the parser of `fewshot predict`."""
    parser = ArgumentParser(
        description="Segment in the query what masks or boxes show in the supports.", allow_abbrev=False
    )
    parser.add_argument("--checkpoint", type=Path, required=True, help="weights, such as every training leaves")
    parser.add_argument(
        "--support",
        type=str,
        nargs="+",
        required=True,
        help="images, each followed by its mask or by one or more boxes x0,y0,x1,y1 in pixels",
    )
    parser.add_argument("--query", type=Path, required=True, help="image to segment, of any size, or a folder of them")
    parser.add_argument("--output", type=Path, default=Path("prediction"), help="folder for masks, pictures and report")
    parser.add_argument("--label", type=int | None, default=None, help="which label of the masks is the object")
    parser.add_argument("--device", type=str, default="auto", help="where the network runs: auto, cpu, cuda, cuda:1")
    return parser


def predict_files(options: Namespace, command: str) -> str:
    """Segment the query, or every image of a folder, and write masks, pictures and a report.

    The files of a single query go into `output`, those of a folder into a folder for each image, by its name.

    Args:
        options: As `build_predict_parser` parses them, instantiated or not.
        command: What was typed, for the report.

    Returns:
        Where everything is, for the terminal.

    Raises:
        ValueError: Supports, queries or the device cannot be used, or a file that was given would be overwritten.
        FileNotFoundError: A file is missing.
    """
    options = build_predict_parser().instantiate(options)
    supports, queries = parse_supports(options.support), list_queries(options.query)
    single = not options.query.is_dir()
    folders = [options.output if single else options.output / query.stem for query in queries]
    _check_overwriting([*queries, *_list_files(supports)], folders, options.output)
    segmenter = Segmenter.from_checkpoint(options.checkpoint, device=options.device)
    found = segmenter.predict_many(queries, supports, label=options.label)
    answers: list[AnswerSummary] = []
    for query, folder in tqdm(list(zip(queries, folders, strict=True)), "Segmenting", unit="image", disable=single):
        segmentation = next(found)
        write_answer(segmentation, folder)
        answers.append(summarise_answer(segmentation, query.name, pictured=len(answers) < PICTURED))
    write_report(
        compose_report(answers, _describe_making(options.checkpoint, segmenter, command)), options.output / REPORT
    )
    written = options.output / FILE_NAMES[0] if single else f"{options.output}, {len(queries)} folders"
    return f"Masks and pictures: {written}\nReport: {options.output / REPORT}"


def parse_supports(words: Sequence[str]) -> list[Support]:
    """Read what `--support` was given: images, each followed by a mask or by boxes.

    Raises:
        ValueError: An image has neither, or a box has no image before it.
    """
    supports: list[Support] = []
    left = list(words)
    while left:
        image, boxes = left.pop(0), []
        while left and _BOX.fullmatch(left[0]):
            x0, y0, x1, y1 = (int(side) for side in left.pop(0).split(","))
            boxes.append((x0, y0, x1, y1))
        if _BOX.fullmatch(image) or not (boxes or left):
            raise ValueError(
                f"`--support` must be images, each followed by its mask or by boxes x0,y0,x1,y1. Found {image} "
                f"{'where an image should be' if _BOX.fullmatch(image) else 'with nothing after it'}. Give each image "
                f"followed by one mask, or by a box around each object."
            )
        supports.append((Path(image), boxes or Path(left.pop(0))))
    return supports


def list_queries(path: Path) -> list[Path]:
    """List what is to be segmented: the file itself, or the JPEG and PNG files of a folder by name.

    Their heads are read, so that a file which is no image is found before the others are segmented.

    Raises:
        ValueError: A folder has no image, or two whose names differ in their endings only.
        UnreadableImageError: A file is missing or no image.
    """
    queries = [path]
    if path.is_dir():
        queries = sorted(one for one in path.iterdir() if one.suffix.lower() in _SUFFIXES and one.is_file())
    if not queries:
        raise ValueError(
            f"A folder of queries must hold at least one image ({', '.join(_SUFFIXES)}). Found none in {path}. Correct "
            f"the path; folders inside it are not searched."
        )
    names = [query.stem for query in queries]
    if len(set(names)) < len(names):
        twice = next(query for query in queries if names.count(query.stem) > 1)
        raise ValueError(
            f"The images of a folder must differ in their names without the ending, after which their results are "
            f"named. Found more than one {twice.stem} in {path}. Rename one of them."
        )
    for query in queries:
        read_size(query)
    return queries


def _list_files(supports: Sequence[Support]) -> list[Path]:
    return [path for support in supports for path in support if isinstance(path, Path)]


def _check_overwriting(given: Sequence[Path], folders: Sequence[Path], output: Path) -> None:
    written = {(folder / name).resolve() for folder in folders for name in FILE_NAMES} | {(output / REPORT).resolve()}
    threatened = [path for path in given if path.resolve() in written]
    if threatened:
        raise ValueError(
            f"`--output` must be a folder where no image or mask of yours would be overwritten. Found that "
            f"{threatened[0]} would be. Choose another folder."
        )


def _describe_making(checkpoint: Path, segmenter: Segmenter, command: str) -> Section:
    environment = describe_environment(segmenter.device)
    fit, network = segmenter.fit, segmenter.model.config
    facts = {
        "checkpoint": str(checkpoint),
        "network": f"{network.backbone}, transport: {network.transport}, prior: {'yes' if network.prior else 'no'}",
        "images": f"{fit.mode} on a canvas of {fit.size} × {fit.size} pixels",
        "commit": environment["commit"],
        "device": environment["device"],
        "versions": ", ".join(f"{name} {version}" for name, version in environment["versions"].items() if version),
    }
    return making_section(facts, commands=[command])
