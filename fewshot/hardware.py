"""What a training runs on, in Lightning's terms."""

from dataclasses import dataclass
from typing import Literal, get_args

import torch

from fewshot.options import require_choice, require_positive

Accelerator = Literal["auto", "cpu", "gpu"]
Precision = Literal["32", "bf16"]


@dataclass(frozen=True)
class Hardware:
    """What a training runs on.

    Several processes (`devices` times `nodes`) share every batch by PyTorch's DistributedDataParallel, over NCCL on
    GPUs and gloo on CPUs. Lightning starts those of this machine; under `torchrun` it uses the ones that are there,
    whose number must be that of the fields. Gradients are those of one process with the same batch.

    Attributes:
        accelerator: Where tensors live; `auto` takes a GPU where there is one.
        devices: Processes on each machine, each with a GPU of its own or a share of the CPU.
        nodes: Machines.
        precision: `32` for float32 throughout, `bf16` for bfloat16 in convolutions and products (autocast); weights,
            the loss and optimal transport stay float32.
        workers: Processes that read and augment images, for each process that trains; 0 reads between the steps.
        deterministic: Ask PyTorch for algorithms that give the same bits each time, also on GPUs; slower there, and a
            warning where there is none, as for the cross-entropy of images and for averages over nodes: two
            trainings on a GPU are then closer, not equal. CPUs need it not.
    """

    accelerator: Accelerator = "auto"
    devices: int = 1
    nodes: int = 1
    precision: Precision = "32"
    workers: int = 0
    deterministic: bool = False

    def __post_init__(self) -> None:
        """Refuse what no machine is."""
        require_choice("accelerator", self.accelerator, get_args(Accelerator))
        require_choice("precision", self.precision, get_args(Precision))
        require_positive("devices", self.devices)
        require_positive("nodes", self.nodes)
        if self.workers < 0:
            raise ValueError(
                f"`workers` must be at least 0. Found `workers = {self.workers}`. Pass 0 to read images between steps."
            )

    @property
    def device(self) -> torch.device:
        """Name where tensors live, in this process.

        Raises:
            ValueError: A GPU is asked for, and PyTorch finds none.
        """
        found = torch.cuda.is_available()
        if self.accelerator == "gpu" and not found:
            raise ValueError(
                f"`accelerator = 'gpu'` must find a GPU that PyTorch can use by CUDA. Found none for PyTorch "
                f"{torch.__version__}. Look at the driver and at CUDA_VISIBLE_DEVICES, install a build of PyTorch with "
                f"CUDA, or pass 'cpu'."
            )
        return torch.device("cuda" if found and self.accelerator != "cpu" else "cpu")

    @property
    def processes(self) -> int:
        """Count the processes that share a batch."""
        return self.devices * self.nodes

    @property
    def strategy(self) -> Literal["ddp", "auto"]:
        """Name Lightning's strategy."""
        return "ddp" if self.processes > 1 else "auto"

    @property
    def lightning_precision(self) -> Literal["32-true", "bf16-mixed"]:
        """Name the precision as Lightning does."""
        return "32-true" if self.precision == "32" else "bf16-mixed"
