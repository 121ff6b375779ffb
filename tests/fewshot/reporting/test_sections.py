import io
from collections.abc import Mapping, Sequence

import numpy as np
import pytest
import torch
from PIL import Image

from fewshot.reporting.report import Figure, Listing, Paragraph, Section, Table
from fewshot.reporting.sections import (
    CHARTED_CLASSES,
    classes_section,
    differences_section,
    format_spread,
    making_section,
    matching_section,
    pictures_section,
    scores_section,
    settings_section,
    training_section,
)
from fewshot.visualisation import Curve, Matches, Panel


def list_tables(section: Section) -> list[Table]:
    return [part for part in section.parts if isinstance(part, Table)]


def list_figures(section: Section) -> list[Figure]:
    return [part for part in section.parts if isinstance(part, Figure)]


def assert_shows_something(figure: Figure) -> None:
    """A picture of some size that is not of one colour, with words for those who do not see it."""
    with Image.open(io.BytesIO(figure.content)) as picture:
        pixels = np.asarray(picture.convert("L"))
    assert min(pixels.shape) > 100
    assert pixels.std() > 5
    assert figure.description


@pytest.fixture
def panel() -> Panel:
    image, mask = torch.randint(0, 256, (20, 30, 3), dtype=torch.uint8), torch.zeros(20, 30, dtype=torch.uint8)
    mask[5:15, 5:15] = 1
    return Panel((image,), (mask,), image, mask, transport_map=torch.rand(20, 30), query_mask=mask, title="bird")


@pytest.mark.parametrize(("values", "printed"), [([47.25], "47.2"), ([40.0, 44.0, 45.0], "43.0 ± 2.6")])
def test_a_spread_is_printed_where_there_is_one(values: Sequence[float], printed: str) -> None:
    assert format_spread(values) == printed


def test_scores_are_a_table_and_a_chart() -> None:
    section = scores_section(
        {"none": {"mIoU": [40.0, 42.0]}, "partial": {"mIoU": [44.0, 48.0], "FB-IoU": [60.0, 61.0]}}
    )
    (table,) = list_tables(section)
    assert table.columns == ("network", "mIoU", "FB-IoU")
    assert table.rows == (("none", "41.0 ± 1.4", None), ("partial", "46.0 ± 2.8", "60.5 ± 0.7"))
    assert "standard deviation over seeds" in table.caption
    assert_shows_something(list_figures(section)[0])


def test_a_single_seed_is_not_called_a_spread() -> None:
    (table,) = list_tables(scores_section({"none": {"mIoU": [40.0]}}))
    assert table.caption == "Per cent."
    assert table.rows == (("none", "40.0"),)


def test_differences_tell_their_standard_errors() -> None:
    section = differences_section({"partial": [1.0, 3.0], "full": [0.5]}, baseline="none", score="mIoU", spread="seeds")
    (table,) = list_tables(section)
    assert table.rows == (("partial", 2.0, pytest.approx(2.0), 2), ("full", 0.5, None, 1))
    assert "mIoU above none" in table.caption
    assert_shows_something(list_figures(section)[0])


def test_classes_are_charted_unless_there_are_very_many() -> None:
    few = classes_section({"partial": {"bird": 30.0}, "none": {"boat": 20.0}}, episodes={"bird": 7})
    (table,) = list_tables(few)
    assert table.rows == (("bird", 30.0, None, 7), ("boat", None, 20.0, None))
    assert len(list_figures(few)) == 1
    assert not few.folded
    names = [f"class {number}" for number in range(CHARTED_CLASSES + 1)]
    many = classes_section({"partial": dict.fromkeys(names, 30.0)}, episodes={})
    assert not list_figures(many)
    assert many.folded
    assert len(list_tables(many)[0].rows) == CHARTED_CLASSES + 1


def test_training_shows_the_loss() -> None:
    (figure,) = list_figures(training_section({"partial": Curve.of_every_step([2.0, 1.0])}))
    assert_shows_something(figure)


def test_pictures_say_how_they_were_chosen(panel: Panel) -> None:
    section = pictures_section({"partial": [panel]}, choice="The first of each class.")
    text = section.parts[0]
    assert isinstance(text, Paragraph)
    assert text.text.startswith("The first of each class. The IoU")
    assert_shows_something(list_figures(section)[0])


def test_flows_are_shown_under_the_names_of_their_tasks(panel: Panel) -> None:
    matches = Matches(torch.tensor([[6.0, 6.0]]), torch.tensor([[20.0, 10.0]]), torch.tensor([0.4]))
    section = matching_section([(panel, [matches]), (panel, [matches])])
    figures = list_figures(section)
    assert [figure.caption for figure in figures] == ["bird", "bird"]
    assert_shows_something(figures[0])


SETTINGS: Mapping[str, Mapping[str, object]] = {
    "none": {"network": {"transport": "none", "dilations": [1, 2]}, "seed": 3, "pixels": {"1": 9, "12": 4}},
    "partial": {"network": {"transport": "partial", "dilations": [1, 2]}, "seed": 3, "pixels": {"1": 9, "12": 4}},
}


def test_settings_are_parted_into_what_differs_and_what_does_not() -> None:
    section = settings_section(SETTINGS)
    apart, common = list_tables(section)
    assert apart.columns == ("where they differ", "none", "partial")
    assert apart.rows == (("network.transport", "none", "partial"),)
    assert common.rows == (("network.dilations", "1, 2"), ("seed", "3"), ("pixels", "1: 9, 12: 4"))
    assert section.folded


def test_settings_of_one_network_differ_from_nothing() -> None:
    (table,) = list_tables(settings_section({"none": SETTINGS["none"]}))
    assert ("network.transport", "none") in table.rows


def test_making_lists_commands_and_the_facts_that_are_known() -> None:
    section = making_section(
        {"commit": "abc", "device": None, "episodes": 600}, commands=["fewshot train", "fewshot x"]
    )
    listing = section.parts[0]
    assert isinstance(listing, Listing)
    assert listing.text == "fewshot train\nfewshot x"
    assert list_tables(section)[0].rows == (("commit", "abc"), ("episodes", 600))
    assert not any(isinstance(part, Listing) for part in making_section({"commit": "abc"}).parts)
