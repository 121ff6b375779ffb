"""A training in miniature, the same in every process, and the ways in which it is interrupted or shared."""

import os
import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch

from fewshot.batches import FeatureBatches
from fewshot.checkpoint import save_checkpoint
from fewshot.data.fitting import Fit
from fewshot.data.pools import training_pool
from fewshot.data.storage import hash_tensors
from fewshot.data.synthetic import Synthetic, SyntheticRecipe
from fewshot.extraction import load_features
from fewshot.hardware import Hardware
from fewshot.model.cmnet import CMNet
from fewshot.model.config import CMNetConfig
from fewshot.model.encoded import EncodedEpisode
from fewshot.stages import name_tensors
from fewshot.training import TrainingConfig, TrainingResult, train

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
    dilations=(1, 2),
    dropout=0.1,
    refinement_passes=1,
    refinement_probability=0.5,
)
save = partial(save_checkpoint, fit=Fit(64))


def make_network(config: CMNetConfig = NETWORK) -> CMNet:
    """Build a network with weights that every process draws alike."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        return CMNet(config)


def make_batches(network: CMNet, cache: Path, config: TrainingConfig = SCHEDULE) -> FeatureBatches:
    """Draw episodes of the base classes, their features kept in memory."""
    data = Synthetic(TINY, cache=cache)
    index = data.load_index(0)
    pool = training_pool(index.train, data.fold(0), rule=data.draw_rule)
    store = load_features(network, data, pool, Fit(64), digest=index.train.digest)
    return FeatureBatches(store, config.make_sampler(pool, seed=1))


def name_by_content(batch: object) -> str:
    """Name a batch so that equal names mean equal bits."""
    return hash_tensors(dict(name_tensors(batch)))


class DeadlyBatches(FeatureBatches):
    """Batches of which one kills the process that asks for it."""

    def __init__(self, batches: FeatureBatches, deadly: int) -> None:
        super().__init__(batches.store, batches.sampler)
        self.deadly = deadly

    def __getitem__(self, numbers: Sequence[int]) -> EncodedEpisode:
        if numbers[0] == self.deadly * SCHEDULE.batch_size:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().__getitem__(numbers)


@dataclass(frozen=True)
class Death:
    """When a training is killed: as it asks for the batch of a step, or half-way through writing a checkpoint."""

    step: int | None = None
    writing: int | None = None

    def arrange(self, batches: FeatureBatches) -> FeatureBatches:
        """Make it happen."""
        if self.writing is not None:
            _kill_while_writing(self.writing)
        return batches if self.step is None else DeadlyBatches(batches, self.step)


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
    folder: Path | None, cache: Path, config: TrainingConfig = SCHEDULE, *, death: Death | None = None, **options: Any
) -> tuple[CMNet, TrainingResult]:
    """Train in miniature."""
    network = make_network(options.pop("network", NETWORK))
    batches = make_batches(network, cache, config)
    batches = batches if death is None else death.arrange(batches)
    options = {"hardware": CPU, "save": save, "seed": 3} | options
    return network, train(network, batches, config, folder=folder, **options)


def run_in_process(work: Callable[..., object], *arguments: object) -> int | None:
    """Call a function in a process of its own, and give its exit code, negative for a signal."""
    (code,) = run_in_processes([(work, arguments)])
    return code


def run_in_processes(jobs: Sequence[tuple[Callable[..., object], tuple[object, ...]]]) -> list[int | None]:
    """Call functions in processes of their own at the same time.

    They are forked from one server that has everything imported and has never run a thread.
    """
    context = get_context("forkserver")
    context.set_forkserver_preload(["fewshot.training", "tests.fewshot.training_cases"])
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
    run_tiny(folder, cache, death=death)


def train_on_rank(rank: int, port: int, folder: Path, cache: Path, config: TrainingConfig) -> None:
    """Be one of two processes that `torchrun` started, and train in it."""
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
    run_tiny(folder, cache, config, hardware=Hardware(accelerator="cpu", devices=2), network=STEADY)


STEADY = replace(NETWORK, dropout=0.0)
"""A network that two processes with half a batch each must train as one process with all of it does."""
