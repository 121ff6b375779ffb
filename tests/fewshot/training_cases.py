"""A training in miniature, the same in every process, and the ways in which it is interrupted or shared."""

import os
import signal
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch

from fewshot.checkpoint import save_checkpoint
from fewshot.data.augmentation import Augmentation
from fewshot.data.episodes import TrainingEpisodes
from fewshot.data.fitting import Fit
from fewshot.data.index import IndexEntry
from fewshot.data.labels import UNKNOWN, LabelledImage
from fewshot.data.pools import training_pool
from fewshot.data.storage import hash_tensors, name_tensors
from fewshot.data.synthetic import Synthetic, SyntheticRecipe
from fewshot.evaluation.extraction import load_features
from fewshot.hardware import Hardware
from fewshot.model.cmnet import CMNet
from fewshot.model.config import CMNetConfig
from fewshot.training.batches import FeatureBatches, PixelBatches
from fewshot.training.train import TrainingConfig, TrainingResult, train

TINY = SyntheticRecipe(base_classes=3, novel_classes=2, base_images=8, novel_images=5)
CPU = Hardware(accelerator="cpu")
STEPS = 12
SCHEDULE = TrainingConfig(steps=STEPS, batch_size=4, learning_rate=0.05, checkpoint_every=3)
NETWORK = CMNetConfig(
    backbone="small",
    width=16,
    position="none",
    message_flow=(),
    prior=False,
    transport="none",
    decoder="aspp",
    dilations=(1, 2),
    dropout=0.1,
    refinement_passes=1,
    refinement_probability=0.5,
)
save = partial(save_checkpoint, fit=Fit(64))


@dataclass(frozen=True)
class Veiled(Synthetic):
    """Pictures of which every other one has much unknown background, so that batches are unevenly labelled."""

    def read(self, entry: IndexEntry) -> LabelledImage:
        picture = super().read(entry)
        if int(entry.image.partition("/")[2]) % 2:
            return picture
        unknown = (picture.labels == 0) & (torch.arange(64) < 48)
        return LabelledImage(picture.image, picture.labels.masked_fill(unknown, UNKNOWN))


def make_network(config: CMNetConfig = NETWORK) -> CMNet:
    """Build a network with weights that every process draws alike."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        return CMNet(config)


def make_batches(
    network: CMNet, cache: Path, config: TrainingConfig = SCHEDULE, *, kind: type[Synthetic] = Veiled
) -> FeatureBatches:
    """Draw episodes of the base classes, their features kept in memory."""
    data = kind(TINY, cache=cache)
    index = data.load_index(0)
    pool = training_pool(index.train, data.fold(0), rule=data.draw_rule)
    store = load_features(network, data, pool, Fit(64), digest=index.train.digest)
    return FeatureBatches(store, config.make_sampler(pool, seed=1))


def name_by_content(batch: object) -> str:
    """Name a batch so that equal names mean equal bits."""
    return hash_tensors(dict(name_tensors(batch)))


@dataclass(frozen=True)
class Death:
    """When a training is killed: as it asks for the batch of a step, or half-way through writing a file."""

    step: int | None = None
    writing: int | None = None

    def arrange(self, source: type, batch_size: int) -> None:
        """Let it happen to this process, which asks a source of this kind for batches."""
        if self.writing is not None:
            _kill_while_writing(self.writing)
        draw = source.__getitem__

        def strike(batches: object, numbers: Sequence[int]) -> object:
            if self.step is not None and numbers[0] == self.step * batch_size:
                os.kill(os.getpid(), signal.SIGKILL)
            return draw(batches, numbers)

        source.__getitem__ = strike


def _kill_while_writing(number: int) -> None:
    """Let the process die in the midst of its `number`-th file, of which half has reached the disk."""
    written, synchronise = [], os.fsync

    def die_on_time(descriptor: int) -> None:
        written.append(descriptor)
        if len(written) == number:
            os.ftruncate(descriptor, os.fstat(descriptor).st_size // 2)
            os.kill(os.getpid(), signal.SIGKILL)
        synchronise(descriptor)

    os.fsync = die_on_time


def run_tiny(
    folder: Path | None, cache: Path, config: TrainingConfig = SCHEDULE, **options: Any
) -> tuple[CMNet, TrainingResult]:
    """Train in miniature, on features."""
    network = make_network(options.pop("network", NETWORK))
    options = {"hardware": CPU, "save": save, "seed": 3} | options
    return network, train(network, make_batches(network, cache, config), config, folder=folder, **options)


def run_tiny_on_pixels(folder: Path, cache: Path) -> tuple[CMNet, TrainingResult]:
    """Train in miniature on augmented images, by a backbone whose statistics drift along."""
    network = make_network(replace(NETWORK, backbone_bn="train"))
    sampler = make_batches(network, cache).sampler
    episodes = TrainingEpisodes(Veiled(TINY, cache=cache), sampler, Augmentation(size=48), seed=2, length=4 * STEPS)
    return network, train(network, PixelBatches(episodes), SCHEDULE, seed=3, folder=folder, save=save, hardware=CPU)


def run_in_process(work: Callable[..., object], *arguments: object) -> int | None:
    """Call a function in a process of its own, and give its exit code, negative for a signal."""
    (code,) = run_in_processes([(work, arguments)])
    return code


def run_in_processes(jobs: Sequence[tuple[Callable[..., object], tuple[object, ...]]]) -> list[int | None]:
    """Call functions in processes of their own at the same time.

    They are forked from one server that has everything imported and has never run a thread.
    """
    context = get_context("forkserver")
    context.set_forkserver_preload(["fewshot.training.train", "tests.fewshot.training_cases"])
    processes = [context.Process(target=_call, args=(torch.get_num_threads(), *job)) for job in jobs]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    return [process.exitcode for process in processes]


def _call(threads: int, work: Callable[..., object], arguments: tuple[object, ...]) -> None:
    torch.set_num_threads(threads)
    work(*arguments)


def train_until_killed(folder: Path, cache: Path, death: Death) -> None:
    """Train, or go on training, until it is over."""
    death.arrange(FeatureBatches, SCHEDULE.batch_size)
    run_tiny(folder, cache)


def train_on_pixels_until_killed(folder: Path, cache: Path, death: Death) -> None:
    """Likewise, on augmented images."""
    death.arrange(PixelBatches, SCHEDULE.batch_size)
    run_tiny_on_pixels(folder, cache)


def be_rank(rank: int, port: int) -> None:
    """Be one of two processes that `torchrun` started."""
    os.environ |= {
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "WORLD_SIZE": "2",
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "LOCAL_WORLD_SIZE": "2",
        "GROUP_RANK": "0",
        "TORCHELASTIC_RUN_ID": "test",
    }


def find_port() -> int:
    """Find a port of this machine that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def train_on_rank(rank: int, port: int, folder: Path, cache: Path, config: TrainingConfig) -> None:
    """Train in one of two processes."""
    be_rank(rank, port)
    run_tiny(folder, cache, config, hardware=Hardware(accelerator="cpu", devices=2), network=STEADY)


STEADY = replace(NETWORK, dropout=0.0)
"""A network that two processes with half a batch each must train as one process with all of it does."""
