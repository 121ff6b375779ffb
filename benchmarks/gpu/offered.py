"""Who offers a problem on this card, and solves it there."""

import torch
from peers import Method, geomloss, ott, own, plain, pot
from workload import Workload


def matrices(workload: Workload, device: torch.device) -> dict[str, Method]:
    """Name the methods for stored prices, ourselves first."""
    found = {
        "partialot": Method(own.solve, stops=True),
        "eager PyTorch, log domain": Method(plain.log_domain),
        "torch.compile, log domain": Method(plain.compiled),
        "row-vector bmm, kernel and transpose stored": Method(plain.kernel_domain),
    }
    if device.type == "cuda":
        found["eager PyTorch in a CUDA graph"] = Method(plain.graphed)
    if workload.mass is None:
        found["POT solve_batch, log domain"] = Method(pot.solve_batch)
        if geomloss.INSTALLED:
            found["GeomLoss solve_batch"] = Method(geomloss.solve_batch)
    if ott.serves(device):
        found["OTT, log domain, momentum 1.5"] = Method(ott.sinkhorn)
    return found
