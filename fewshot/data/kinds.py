"""Every data set that a command can be given by name: names are looked up among the classes that are imported."""

from fewshot.data.coco import Coco
from fewshot.data.dataset import DataSet
from fewshot.data.folder import Folder
from fewshot.data.fss1000 import FSS1000
from fewshot.data.pascal import Pascal
from fewshot.data.synthetic import Synthetic

DATA_SETS: tuple[type[DataSet], ...] = (Pascal, Coco, FSS1000, Folder, Synthetic)
"""The kinds of data sets, in the order in which help texts name them."""
