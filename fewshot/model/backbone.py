"""Feature extractors: residual networks with torchvision's weight names, dilated so that a node covers few pixels."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import Literal

import torch
from jaxtyping import Float
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

BackboneName = Literal["small", "resnet50", "resnet101"]
StemName = Literal["plain", "deep"]


@dataclass(frozen=True)
class Features:
    """What the frozen backbone says about a batch of images; one column of channels is a node.

    Independent of everything that is trained afterwards, so it can be computed once, stored (float16 is enough) and
    indexed along the first dimension.

    Attributes:
        mid: Third stage followed by second stage, the «multi-level features» of the network.
        high: Fourth stage, from which the prior mask is made.
    """

    mid: Float[Tensor, "batch mid_channels height width"]
    high: Float[Tensor, "batch high_channels height width"]

    def to(self, dtype: torch.dtype) -> "Features":
        """Return the features as `dtype`, whatever they were stored in."""
        return Features(self.mid.to(dtype), self.high.to(dtype))


@dataclass(frozen=True)
class _Architecture:
    """Numbers that tell one residual network from another."""

    bottleneck: bool
    stem: Literal["small", "plain", "deep"]
    stem_channels: int
    channels: tuple[int, int, int, int]
    blocks: tuple[int, int, int, int]


_EXPANSION = 4
_STRIDES = (1, 2, 1, 1)
_DILATIONS = (1, 1, 2, 4)


def _convolution(inputs: int, outputs: int, size: int, *, stride: int = 1, dilation: int = 1) -> nn.Conv2d:
    padding = dilation * (size // 2)
    return nn.Conv2d(inputs, outputs, size, stride=stride, padding=padding, dilation=dilation, bias=False)


class _Block(nn.Module):
    """Residual block, basic or bottleneck; the 3x3 convolution `conv2` (or `conv1` in a basic block) has the stride."""

    def __init__(self, inputs: int, channels: int, *, bottleneck: bool, stride: int, dilation: int) -> None:
        super().__init__()
        self.bottleneck = bottleneck
        outputs = channels * _EXPANSION if bottleneck else channels
        if bottleneck:
            self.conv1 = _convolution(inputs, channels, 1)
            self.conv2 = _convolution(channels, channels, 3, stride=stride, dilation=dilation)
            self.conv3 = _convolution(channels, outputs, 1)
            self.bn3 = nn.BatchNorm2d(outputs)
        else:
            self.conv1 = _convolution(inputs, channels, 3, stride=stride, dilation=dilation)
            self.conv2 = _convolution(channels, channels, 3, dilation=dilation)
        self.bn1 = nn.BatchNorm2d(channels)
        self.bn2 = nn.BatchNorm2d(channels)
        self.downsample = None
        if stride != 1 or inputs != outputs:
            self.downsample = nn.Sequential(_convolution(inputs, outputs, 1, stride=stride), nn.BatchNorm2d(outputs))

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x if self.downsample is None else self.downsample(x)
        x = torch.relu(self.bn1(self.conv1(x)))
        x = self.bn2(self.conv2(x))
        if self.bottleneck:
            x = self.bn3(self.conv3(torch.relu(x)))
        return torch.relu(x + shortcut)


class Backbone(nn.Module):
    """Residual network without classifier whose last three stages share one resolution.

    Stage 3 and stage 4 keep the stride of stage 2 and dilate their 3x3 convolutions by 2 and 4 instead, so features
    are never below 1/8 of the input (1/4 in the small network). Parameters are named as in torchvision.

    Attributes:
        mid_channels: Channels of `Features.mid`.
        high_channels: Channels of `Features.high`.
        layer3_channels: How many of the mid channels, from the front, are stage 3.
        stride: Pixels from one node to the next.
    """

    def __init__(self, architecture: _Architecture) -> None:
        super().__init__()
        self._build_stem(architecture)
        expansion = _EXPANSION if architecture.bottleneck else 1
        inputs = architecture.stem_channels
        stages = []
        for channels, blocks, stride, dilation in zip(
            architecture.channels, architecture.blocks, _STRIDES, _DILATIONS, strict=True
        ):
            stage = []
            for block in range(blocks):
                first = stride if block == 0 else 1
                stage.append(
                    _Block(inputs, channels, bottleneck=architecture.bottleneck, stride=first, dilation=dilation)
                )
                inputs = channels * expansion
            stages.append(nn.Sequential(*stage))
        self.layer1, self.layer2, self.layer3, self.layer4 = stages
        _, layer2, layer3, layer4 = (channels * expansion for channels in architecture.channels)
        self.mid_channels, self.high_channels, self.layer3_channels = layer2 + layer3, layer4, layer3
        self.stride = 4 if architecture.stem == "small" else 8
        self._initialise()

    def _build_stem(self, architecture: _Architecture) -> None:
        """Name the stem's layers as the public weight files do: torchvision (plain) or semseg (deep)."""
        self.conv2, self.conv3, self.pool = None, None, nn.MaxPool2d(3, stride=2, padding=1)
        if architecture.stem == "deep":
            self.conv1, self.bn1 = _convolution(3, 64, 3, stride=2), nn.BatchNorm2d(64)
            self.conv2, self.bn2 = _convolution(64, 64, 3), nn.BatchNorm2d(64)
            self.conv3, self.bn3 = _convolution(64, architecture.stem_channels, 3), nn.BatchNorm2d(128)
            return
        size = 3 if architecture.stem == "small" else 7
        self.conv1 = _convolution(3, architecture.stem_channels, size, stride=2)
        self.bn1 = nn.BatchNorm2d(architecture.stem_channels)
        if architecture.stem == "small":
            self.pool = nn.Identity()

    def _initialise(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, images: Float[Tensor, "batch 3 height width"]) -> Features:
        """Describe images that are RGB in [0, 1], normalised by ImageNet's mean and standard deviation."""
        layer2 = self.layer2(self.layer1(self.pool(self._stem(images))))
        layer3 = self.layer3(layer2)
        return Features(torch.cat([layer3, layer2], dim=1), self.layer4(layer3))

    def deepen(self, mid: Float[Tensor, "batch mid h w"]) -> Float[Tensor, "batch high h w"]:
        """Apply stage 4 to the stage-3 channels of (masked) mid-level features, as the prior mask asks."""
        return self.layer4(mid[:, : self.layer3_channels])

    def _stem(self, images: Tensor) -> Tensor:
        x = torch.relu(self.bn1(self.conv1(images)))
        if self.conv2 is None or self.conv3 is None:
            return x
        x = torch.relu(self.bn2(self.conv2(x)))
        return torch.relu(self.bn3(self.conv3(x)))


def build_backbone(name: BackboneName, *, stem: StemName = "plain") -> Backbone:
    """Make an untrained backbone.

    Args:
        name: `small` (one basic block a stage, 16/32/48/64 channels, stride 4: for 64-pixel images and tests),
            `resnet50` or `resnet101` (stride 8).
        stem: One 7x7 convolution (`plain`, torchvision) or three 3x3 (`deep`, PFENet's weights); the small network
            has its own.
    """
    if name == "small":
        return Backbone(_Architecture(False, "small", 16, (16, 32, 48, 64), (1, 1, 1, 1)))
    blocks = (3, 4, 6, 3) if name == "resnet50" else (3, 4, 23, 3)
    return Backbone(_Architecture(True, stem, 64 if stem == "plain" else 128, (64, 128, 256, 512), blocks))


def read_weights(path: Path) -> Mapping[str, Tensor]:
    """Read a state dict from a local file without running any code stored in it.

    Args:
        path: A `.safetensors` file, or whatever `torch.load(weights_only=True)` accepts.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file is damaged, would run code, or holds something else than named tensors.
    """
    if not path.is_file():
        raise FileNotFoundError(
            f"`path` must name a file of weights. Found nothing at {path}. Download the weights first, or correct "
            f"the path."
        )
    try:
        weights = load_file(path) if path.suffix == ".safetensors" else torch.load(path, "cpu", weights_only=True)
    except (SafetensorError, UnpicklingError, RuntimeError, EOFError) as error:
        raise ValueError(
            f"`path` must be a complete file of weights that runs no code. Found something else in {path} "
            f"({str(error).splitlines()[0] if str(error) else 'empty'}). Fetch it again, or save its tensors anew."
        ) from error
    if not isinstance(weights, Mapping) or not all(isinstance(value, Tensor) for value in weights.values()):
        raise ValueError(
            f"`path` must hold a state dict, that is tensors by name. Found {type(weights).__name__} in {path}. "
            f"Save `model.state_dict()` alone, without optimiser or configuration."
        )
    return weights


def load_backbone_weights(backbone: Backbone, path: Path) -> None:
    """Fill a backbone from a local file in torchvision's naming; the classifier `fc` is left out, nothing else.

    Raises:
        ValueError: Names or shapes differ from the backbone's.
    """
    weights = {name: value for name, value in read_weights(path).items() if not name.startswith("fc.")}
    expected = backbone.state_dict()
    # Counters of batches matter to no frozen network, and files from other frameworks lack them.
    counters = {name: value for name, value in expected.items() if name.endswith("num_batches_tracked")}
    weights = {**counters, **weights}
    wrong = sorted(set(weights) ^ set(expected)) or [
        name for name, value in weights.items() if value.shape != expected[name].shape
    ]
    if wrong:
        raise ValueError(
            f"The weights must have the backbone's names and shapes. Found {len(wrong)} that differ in {path}, first "
            f"`{wrong[0]}`. Pass a torchvision-style state dict of the same depth and stem."
        )
    backbone.load_state_dict(weights)
