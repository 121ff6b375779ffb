"""Presets as the command line reads them, each base with the data set that it is for; none is looked for on disk."""

from functools import cache

from fewshot.commands.options import parse_run, read_run
from fewshot.presets import expand_presets
from fewshot.run_config import RunConfig

PASCAL = ("--data=Pascal", "--data.root=voc", "--data.train=[train.txt]", "--data.val=[val.txt]", "--data.index=i.json")
COCO = ("--data=Coco", "--data.root=coco", "--data.index=i.json")
FSS = ("--data=FSS1000", "--data.root=fss", "--data.train=a.txt", "--data.test=b.txt", "--data.index=i.json")
FOLDER = ("--data=Folder", "--data.root=own", "--data.index=i.json", "--data.folds=4")
BASES = {"pascal": PASCAL, "coco": COCO, "fss1000": FSS, "photographs": FOLDER, "synthetic": ()}
"""Presets that are whole, with the data set that they are for; all others come on top of one of them."""


@cache
def read_presets(*names: str) -> RunConfig:
    """Read a base, and what comes on top of it."""
    words = [word for name in names for word in ("--config", name)]
    words += [*BASES[names[0]], "--output=run"]
    return read_run(parse_run(expand_presets(words)))
