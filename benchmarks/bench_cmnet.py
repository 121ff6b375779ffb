"""Time CMNet and measure its memory, by what its transport is solved between and how derivatives come back.

One episode of one support, the paper's network otherwise. «forward» is prediction, without a graph and with the four
further decoding passes; «training» is forward with a graph and backward, with one decoding pass. Rows that are compared
take turns in one process, after a turn that warms up. Memory is measured in a process for each: the most that it (or
the GPU) held above what it held with network and episode in place. «unrolled» puts what is common in place of our
implicit derivative: 50 sweeps of two `logsumexp` on the bordered matrix, differentiated by PyTorch, which keeps two
matrices a sweep. It is left out where those alone would need more than --limit.

    python benchmarks/bench_cmnet.py
    python benchmarks/bench_cmnet.py --sides 241 --rounds 1 --threads 1   # minutes
"""

import multiprocessing
import statistics
import time
import warnings
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from itertools import product
from pathlib import Path
from typing import NamedTuple

import torch
from record import arguments, keep
from torch import Tensor, nn
from workload import machine

import partialot
from fewshot.episode import Episode
from fewshot.model import CMNet, CMNetConfig, MatchingConfig
from fewshot.model.cmnet import count_parameters

TRANSPORTS = ("none", "all nodes", "30 x 30 nodes", "all nodes, unrolled")
_STRIDE = 8


@dataclass(frozen=True)
class Case:
    """One row of the table, in one kind of pass."""

    backbone: str
    side: int
    transport: str
    device: str
    threads: int
    training: bool

    def network(self) -> CMNet:
        """The paper's network with untrained weights, which cost what trained ones cost."""
        torch.manual_seed(0)
        matching = MatchingConfig(grid=30 if self.transport.startswith("30") else None)
        config = CMNetConfig(
            backbone=self.backbone,  # pyright: ignore[reportArgumentType]
            transport="none" if self.transport == "none" else "partial",
            matching=matching,
            refinement_probability=0.0,
        )
        network = CMNet(config).train(self.training)
        if self.transport.endswith("unrolled"):
            assert network.matching is not None
            network.matching.solve = UnrolledSinkhorn(matching.reg, matching.max_iter)  # pyright: ignore[reportAttributeAccessIssue]
        return network.to(self.device)

    def episode(self) -> Episode:
        """A query, and a support whose object covers a ninth of it."""
        generator = torch.Generator().manual_seed(0)
        images = torch.randn(2, 1, 3, self.side, self.side, generator=generator)
        masks = torch.zeros(1, 1, self.side, self.side, dtype=torch.long)
        masks[..., : self.side // 3, : self.side // 3] = 1
        return Episode(images[:1], masks, images[1], masks[:, 0]).to(self.device)

    def kept_by_unrolling(self) -> float:
        """GiB of the matrices that the graph of `UnrolledSinkhorn` keeps; 0 where there is none."""
        if not (self.training and self.transport.endswith("unrolled")):
            return 0.0
        nodes = ((self.side - 1) // _STRIDE + 1) ** 2
        return 2 * MatchingConfig().max_iter * 4 * (nodes + 1) ** 2 / 2**30


class Plan(NamedTuple):
    """What `OptimalTransportMatching` reads of a solution."""

    plan: Tensor


class UnrolledSinkhorn(nn.Module):
    """Log-domain Sinkhorn on the matrix with its dummies written out, in the place of `TransportMatching`."""

    def __init__(self, reg: float, iterations: int) -> None:
        super().__init__()
        self.reg, self.iterations = reg, iterations

    def forward(self, x: Tensor, y: Tensor, a: Tensor, b: Tensor, *, mass: Tensor) -> Plan:
        """Sweep a fixed number of times."""
        x, y = (torch.nn.functional.normalize(side, dim=-1) for side in (x, y))
        kernel = nn.functional.pad((x @ y.mT - 1) / self.reg, (0, 1, 0, 1))
        kernel[..., -1, -1] = -torch.inf
        of_rows, of_columns = b.sum(-1) - mass, a.sum(-1) - mass
        log_a, log_b = torch.cat([a, of_rows[..., None]], -1).log(), torch.cat([b, of_columns[..., None]], -1).log()
        f, g = torch.zeros_like(log_a), torch.zeros_like(log_b)
        for _ in range(self.iterations):
            f = log_a - torch.logsumexp(kernel + g.unsqueeze(-2), dim=-1)
            g = log_b - torch.logsumexp(kernel + f.unsqueeze(-1), dim=-2)
        return Plan((kernel + f.unsqueeze(-1) + g.unsqueeze(-2)).exp()[..., :-1, :-1])


def run(network: CMNet, episode: Episode) -> None:
    """Predict, or take a step's derivatives, as the network's mode says."""
    with torch.set_grad_enabled(network.training):
        prediction = network(episode)
        if network.training:
            logits = torch.stack([prediction.logits, *prediction.auxiliary])
            logits.log_softmax(2)[:, :, 1].sum().backward()
            network.zero_grad()
    if episode.query_image.is_cuda:
        torch.cuda.synchronize()


def held(device: str, field: str) -> float:
    """Memory of this process in MiB, now (VmRSS) or at most (VmHWM), on the GPU or resident."""
    if device == "cuda":
        return (torch.cuda.memory_allocated() if field == "VmRSS" else torch.cuda.max_memory_allocated()) / 2**20
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field)) / 1024


def memory(case: Case) -> float:
    """Give the most MiB that a pass holds beside network and episode, in a fresh process."""
    warnings.simplefilter("ignore", partialot.ConvergenceWarning)
    torch.set_num_threads(case.threads)
    network, episode = case.network(), case.episode()
    # What is loaded at the first use is not counted.
    run(network, replace(case, side=65).episode())
    # Linux forgets the largest size so far, which was that of the making of the network.
    Path("/proc/self/clear_refs").write_text("5")
    if case.device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    before = held(case.device, "VmRSS")
    run(network, episode)
    return held(case.device, "VmHWM") - before


def times(cases: list[Case], rounds: int) -> list[dict[str, float]]:
    """Let the cases take turns, in a fresh process."""
    warnings.simplefilter("ignore", partialot.ConvergenceWarning)
    torch.set_num_threads(cases[0].threads)
    networks, episode = [case.network() for case in cases], cases[0].episode()
    taken: list[list[float]] = [[] for _ in cases]
    for turn in range(rounds + 1):
        for network, seconds in zip(networks, taken, strict=True):
            begin = time.perf_counter()
            run(network, episode)
            # The first turn warms caches and pages.
            seconds += [time.perf_counter() - begin] if turn else []
    return [{"median_s": statistics.median(one), "least_s": min(one), "most_s": max(one)} for one in taken]


def compare(cases: list[Case], rounds: int, limit: float) -> list[dict[str, object]]:
    """Measure cases that differ in their transport only; those that would keep too much have no figures."""
    possible = [case for case in cases if case.kept_by_unrolling() <= limit]
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=spawn, max_tasks_per_child=1) as pool:
        timed = pool.submit(times, possible, rounds).result()
        peaks = [pool.submit(memory, case).result() for case in possible]
    figures = {case: seconds | {"peak_mib": peak} for case, seconds, peak in zip(possible, timed, peaks, strict=True)}
    return [
        {"case": asdict(case), "kept_by_unrolling_gib": case.kept_by_unrolling(), "figures": figures.get(case)}
        for case in cases
    ]


def main() -> None:
    """Measure each case, print the figures and keep them."""
    parser = arguments(__doc__, "cmnet", rounds=3)
    parser.add_argument("--backbones", nargs="+", default=["resnet50", "mobilenetv2"])
    parser.add_argument("--sides", type=int, nargs="+", default=[241, 473], help="of the square images, in pixels")
    parser.add_argument("--threads", type=int, nargs="+", default=sorted({1, torch.get_num_threads()}))
    parser.add_argument("--limit", type=float, default=8.0, help="GiB beyond which unrolling is left out")
    given = parser.parse_args()
    before, rows = machine(), []
    places = [("cpu", threads) for threads in given.threads]
    places += [("cuda", torch.get_num_threads())] if torch.cuda.is_available() else []
    for settings in product(given.backbones, given.sides, places, (False, True)):
        backbone, side, (device, threads), training = settings
        cases = [Case(backbone, side, transport, device, threads, training) for transport in TRANSPORTS]
        for row in compare(cases, given.rounds, given.limit):
            rows.append(row)
            print(*(f"{name} {value}" for name, value in row.items()), flush=True)
    weights = {name: count_parameters(CMNet(CMNetConfig(backbone=name))) for name in given.backbones}
    graphics = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    keep(given.out, before, {"limit_gib": given.limit, "gpu": graphics, "weights": weights, "rows": rows})


if __name__ == "__main__":
    main()
