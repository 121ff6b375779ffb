"""The data sets of the paper in miniature, in their true on-disk formats, and its presets cut to that size."""

from collections.abc import Sequence
from pathlib import Path

from tests.fewshot.data import coco_tree, fss_tree, voc_tree

SIZES = (
    "--network.backbone=small",
    "--network.width=16",
    "--pretraining.epochs=null",
    "--pretraining.steps=1",
    "--pretraining.batch_size=2",
    "--pretraining.augmentation.size=33",
    "--pretraining.check_images=2",
    "--augmentation.size=33",
    "--training.epochs=null",
    "--training.steps=1",
    "--training.batch_size=2",
    "--evaluation.fit.size=33",
    "--evaluation.seeds=[321]",
    "--evaluation.batch_size=20",
    "--evaluation.workers=0",
    "--hardware.workers=0",
    "--hardware.accelerator=cpu",
)
"""What a preset of the paper is cut down by: backbone, width, pixels, steps and lists of episodes, nothing else."""

_PAIRS = ((1, 2), (3, 4), (5, 1), (2, 3), (4, 5), (1, 3), (2, 4), (5,))
"""Which of five neighbouring classes stand in one picture: each in three, and in two of the first five."""


def write_voc(root: Path) -> list[str]:
    """Write a VOC tree in which every class of every fold can be trained and tested on; give the options that name it.

    One image to train on shows a little of a class of fold 0 beside one of fold 1.
    """
    groups = [[tuple(5 * fold + label for label in pair) for pair in _PAIRS] for fold in range(4)]
    train = {
        f"2007_{number:06}": dict.fromkeys(labels, 2100)
        for number, labels in enumerate(labels for group in groups for labels in group[:5])
    }
    train["2008_000000"] = {6: 3000, 1: 50}
    val = {
        f"2010_{number:06}": dict.fromkeys(labels, 2100)
        for number, labels in enumerate(labels for group in groups for labels in group)
    }
    voc_tree.write_tree(root, {**train, **val})
    lists = [
        voc_tree.write_image_list(root / f"{name}.txt", list(images))
        for name, images in (("train", train), ("val", val))
    ]
    options = ["--data=Pascal", f"--data.root={root}", f"--data.index={root / 'index.json'}"]
    options += [f"--data.{path.stem}=[{path}]" for path in lists]
    return [*options, "--evaluation.shots=[1,2]", "--evaluation.episodes=16"]


def write_coco(root: Path) -> list[str]:
    """Write a COCO tree whose fold 0 can be trained and tested on; give the options that name it."""
    folds = [list(range(fold + 1, 81, 4)) for fold in range(4)]
    train = [pair for fold in folds[1:] for pair in _pair_up(fold, turns=2)]
    coco_tree.write_tree(root, _draw(train), _draw(_pair_up(folds[0], turns=3), start=1000))
    options = ["--data=Coco", f"--data.root={root}", f"--data.index={root / 'index.json'}"]
    return [*options, "--evaluation.shots=[1,2]", "--evaluation.episodes=120"]


def write_fss(root: Path) -> list[str]:
    """Write an FSS-1000 tree; give the options that name it."""
    fss_tree.write_tree(root)
    options = ["--data=FSS1000", f"--data.root={root}", f"--data.index={root / 'index.json'}"]
    for name, classes in (("train", fss_tree.TRAIN), ("test", fss_tree.TEST)):
        options.append(f"--data.{name}={fss_tree.write_names(root / f'{name}.txt', classes)}")
    return [*options, "--evaluation.episodes=20"]


def _pair_up(labels: Sequence[int], *, turns: int) -> list[tuple[int, int]]:
    """Give each class a picture with each of its next neighbours, `turns / 2` of them: `turns` pictures of each."""
    everybody = list(zip(labels, [*labels[1:], labels[0]], strict=True))
    return everybody + [pair for pair in everybody[::2] for _ in range(turns - 2)]


def _draw(pairs: Sequence[tuple[int, int]], *, start: int = 1) -> coco_tree.Images:
    """One object in the upper half of each image, one in the lower, 2,400 pixels each."""
    upper, lower = coco_tree.box(0, 0, 80, 30), coco_tree.box(0, 30, 80, 60)
    return {
        f"{number:012}": [(first, [upper], False), (second, [lower], False)]
        for number, (first, second) in enumerate(pairs, start)
    }
