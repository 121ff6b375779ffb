from dataclasses import replace
from pathlib import Path

import pytest

from fewshot.data.dataset import DataSet
from fewshot.data.folder import Folder
from fewshot.data.fss1000 import FSS1000
from fewshot.data.pascal import Pascal
from fewshot.data.pools import DrawRule
from fewshot.data.synthetic import Synthetic

LIST = Path("list.txt")
PASCAL = Pascal(Path(), (LIST,), (LIST,), Path("index.json"))


@pytest.mark.parametrize(
    ("data", "min_pixels"),
    [
        (PASCAL, None),
        (FSS1000(Path(), LIST, LIST, Path("index.json")), 1),
        (Folder(Path(), Path("index.json"), folds=2, min_pixels=50), 50),
        (Synthetic(), 120),
    ],
    ids=["Pascal", "FSS1000", "Folder", "Synthetic"],
)
def test_a_rule_that_leaves_the_filter_open_takes_that_of_the_data_set(data: DataSet, min_pixels: int | None) -> None:
    open_rule = DrawRule(legacy_class_draw=True)
    assert data.complete_rule(open_rule) == replace(open_rule, min_pixels=min_pixels)
    assert data.complete_rule(DrawRule(min_pixels=7)) == DrawRule(min_pixels=7)
