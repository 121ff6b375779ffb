"""Every data set that a command can be given by name: names are looked up among the classes that are imported."""

from fewshot.data.dataset import DataSet
from fewshot.data.folder import Folder
from fewshot.data.pascal import Pascal
from fewshot.data.synthetic import Synthetic

DATA_SETS: tuple[type[DataSet], ...] = (Pascal, Folder, Synthetic)
"""The kinds of data sets, in the order in which help texts name them."""
