"""Residual networks with torchvision's weight names, dilated so that a node covers few pixels."""

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from fewshot.model.backbone.features import Backbone


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


class ResidualNetwork(Backbone):
    """ResNet whose stages 3 and 4 keep the stride of stage 2 and dilate all their 3x3 convolutions by 2 and 4.

    As in PFENet the first block of a stage is dilated too, although torchvision's weights were trained with that block
    undilated. The small network ends at 1/4 of the input, the others at 1/8.

    References:
        He et al. (2016), Deep Residual Learning for Image Recognition, table 1.
    """

    classifier = "fc."

    def __init__(self, architecture: _Architecture) -> None:
        expansion = _EXPANSION if architecture.bottleneck else 1
        _, layer2, layer3, layer4 = (channels * expansion for channels in architecture.channels)
        stride = 4 if architecture.stem == "small" else 8
        super().__init__(layer2=layer2, layer3=layer3, layer4=layer4, stride=stride)
        self._build_stem(architecture)
        inputs = architecture.stem_channels
        stages = []
        for channels, blocks, step, dilation in zip(
            architecture.channels, architecture.blocks, _STRIDES, _DILATIONS, strict=True
        ):
            stage = []
            for block in range(blocks):
                first = step if block == 0 else 1
                stage.append(
                    _Block(inputs, channels, bottleneck=architecture.bottleneck, stride=first, dilation=dilation)
                )
                inputs = channels * expansion
            stages.append(nn.Sequential(*stage))
        self.layer1, self.layer2, self.layer3, self.layer4 = stages
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

    def run_to_layer2(self, images: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch layer2 h w"]:
        """Apply the stem, stage 1 and stage 2."""
        return self.layer2(self.layer1(self.pool(self._stem(images))))

    def run_layer3(self, layer2: Float[Tensor, "batch layer2 h w"]) -> Float[Tensor, "batch layer3 h w"]:
        """Apply stage 3."""
        return self.layer3(layer2)

    def run_layer4(self, layer3: Float[Tensor, "batch layer3 h w"]) -> Float[Tensor, "batch layer4 h w"]:
        """Apply stage 4."""
        return self.layer4(layer3)

    def _stem(self, images: Tensor) -> Tensor:
        x = torch.relu(self.bn1(self.conv1(images)))
        if self.conv2 is None or self.conv3 is None:
            return x
        x = torch.relu(self.bn2(self.conv2(x)))
        return torch.relu(self.bn3(self.conv3(x)))


def build_small() -> ResidualNetwork:
    """Make the network for 64-pixel images: one basic block a stage, 16/32/48/64 channels, stride 4."""
    return ResidualNetwork(_Architecture(False, "small", 16, (16, 32, 48, 64), (1, 1, 1, 1)))


def build_resnet(name: Literal["resnet50", "resnet101"], *, deep_stem: bool) -> ResidualNetwork:
    """Make a bottleneck ResNet at stride 8, with three 3x3 convolutions in place of the first 7x7 if `deep_stem`."""
    blocks = (3, 4, 6, 3) if name == "resnet50" else (3, 4, 23, 3)
    stem, channels = ("deep", 128) if deep_stem else ("plain", 64)
    return ResidualNetwork(_Architecture(True, stem, channels, (64, 128, 256, 512), blocks))
