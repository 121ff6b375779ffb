"""What a prediction leaves behind: files for each query, and a report about all of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from fewshot.reporting.report import Cell, Figure, Report, Section, Table
from fewshot.reporting.sections import matching_section, pictures_section
from fewshot.segmenter import Segmentation
from fewshot.visualisation import (
    Matches,
    Panel,
    draw_map,
    draw_matching,
    encode_picture,
    find_matches,
    overlay_mask,
    resize_picture,
    save_figure,
    save_picture,
    take_panel,
)

FILE_NAMES = ("mask.png", "probability.png", "overlay.png", "prior.png", "transport.png", "matching.png")
"""What may be written for a query; the last three only where the network has such maps."""

PICTURED = 20
"""Queries of a folder that the report shows; all of them have their files."""

_JOINED = 3
_OVERLAY_PIXELS = 900


@dataclass(frozen=True)
class AnswerSummary:
    """What the report says of a query.

    Attributes:
        name: Of its file.
        size: Its height and width.
        share: How much of it is the object, in [0, 1].
        certainty: Mean probability on the object; None where none was found.
        fg_flow_fraction: Share of the mass moved that comes from the supports' object; None without transport.
        flow_entropy: How evenly that mass is spread over pairs of nodes, in [0, 1]; likewise.
        pictures: What it looked like; None where the report has enough of them.
    """

    name: str
    size: tuple[int, int]
    share: float
    certainty: float | None
    fg_flow_fraction: float | None
    flow_entropy: float | None
    pictures: "Pictures | None"


@dataclass(frozen=True)
class Pictures:
    """What a query looked like.

    Attributes:
        overlay: The query with the object tinted, as PNG.
        panel: Supports, maps and answer.
        matches: For each support; None where the network has no transport.
    """

    overlay: bytes
    panel: Panel
    matches: tuple[Matches, ...] | None


def summarise_answer(found: Segmentation, name: str, *, pictured: bool) -> AnswerSummary:
    """Keep of an answer what the report says.

    Args:
        found: The answer.
        name: Of the query's file.
        pictured: Whether the report shows it.
    """
    inside, prediction = found.probability[found.mask], found.prediction
    return AnswerSummary(
        name=name,
        size=(found.mask.shape[0], found.mask.shape[1]),
        share=found.mask.float().mean().item(),
        certainty=inside.mean().item() if len(inside) else None,
        fg_flow_fraction=None if prediction.fg_flow_fraction is None else prediction.fg_flow_fraction.item(),
        flow_entropy=None if prediction.flow_entropy is None else prediction.flow_entropy.item(),
        pictures=_take_pictures(found, name) if pictured else None,
    )


def write_answer(found: Segmentation, folder: Path) -> tuple[Path, ...]:
    """Write the files of a query: the mask (255 on the object), the probability (255 is 1) and pictures.

    Returns:
        The files, in the order of `FILE_NAMES`. Each appears when it is complete.
    """
    picture = found.image.permute(1, 2, 0)
    grey = {"mask.png": 255 * found.mask.to(torch.uint8), "probability.png": found.probability.mul(255).round().byte()}
    for name, values in grey.items():
        save_picture(values, folder / name)
    save_picture(overlay_mask(picture, found.mask), folder / "overlay.png")
    written = [*grey, "overlay.png"]
    for name, values in (("prior", found.prior_map), ("transport", found.transport_map)):
        if values is not None:
            top = values.max().item() or 1.0
            save_figure(draw_map(picture, values, label=name, top=top), folder / f"{name}.png")
            written.append(f"{name}.png")
    matches = _find_matches(found)
    if matches is not None:
        save_figure(draw_matching(take_panel(found.episode, found.prediction), matches), folder / "matching.png")
        written.append("matching.png")
    return tuple(folder / name for name in written)


def compose_report(answers: Sequence[AnswerSummary], making: Section) -> Report:
    """Say what was found in the queries.

    Args:
        answers: At least one.
        making: How they were made.
    """
    shown = [answer.pictures for answer in answers if answer.pictures is not None]
    choice = "" if len(shown) == len(answers) else f"The first {len(shown)} queries by name."
    flows = [(pictures.panel, pictures.matches) for pictures in shown if pictures.matches is not None]
    shots = len(shown[0].panel.support_images)
    sections = [
        _list_answers(answers),
        *(_show_overlay(pictures) for pictures in shown if len(answers) == 1),
        pictures_section({"": [pictures.panel for pictures in shown]}, choice=choice),
        *([matching_section(flows[:_JOINED])] if flows else []),
        making,
    ]
    return Report(
        f"Segmentation of {answers[0].name if len(answers) == 1 else f'{len(answers)} images'}",
        f"What a network found that was given {shots} labelled {'image' if shots == 1 else 'images'}.",
        tuple(sections),
    )


def _take_pictures(found: Segmentation, name: str) -> Pictures:
    overlay = overlay_mask(found.image.permute(1, 2, 0), found.mask)
    return Pictures(
        encode_picture(resize_picture(overlay, _OVERLAY_PIXELS)),
        take_panel(found.episode, found.prediction, title=Path(name).stem),
        _find_matches(found),
    )


def _find_matches(found: Segmentation) -> tuple[Matches, ...] | None:
    if found.prediction.plan is None:
        return None
    shots = found.episode.support_masks.shape[1]
    return tuple(find_matches(found.episode, found.prediction, shot=shot) for shot in range(shots))


def _list_answers(answers: Sequence[AnswerSummary]) -> Section:
    columns = ["query", "width × height", "object, % of pixels", "mean probability on it, %"]
    transport = any(answer.fg_flow_fraction is not None for answer in answers)
    if transport:
        columns += ["mass from the object, % of what moved", "entropy of the flow, %"]
    rows: list[tuple[Cell, ...]] = []
    for answer in answers:
        shares = [answer.share, answer.certainty]
        shares += [answer.fg_flow_fraction, answer.flow_entropy] if transport else []
        cells = (None if share is None else 100 * share for share in shares)
        rows.append((answer.name, f"{answer.size[1]} × {answer.size[0]}", *cells))
    return Section("Answers", (Table(tuple(columns), tuple(rows)),), folded=len(answers) > PICTURED)


def _show_overlay(pictures: Pictures) -> Section:
    return Section("The object", (Figure(pictures.overlay, "the query in grey, the object tinted red"),))
