"""ResNet-50 v2, whose normalisations come before its convolutions, up to its third stage."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from fewshot.model.backbone.features import Backbone

_BLOCKS, _CHANNELS = (3, 4, 6), (64, 128, 256)
_EXPANSION = 4


class _PreActivationBlock(nn.Module):
    """Bottleneck block: normalise, activate, convolve, three times; the first one of a stage projects its shortcut."""

    def __init__(self, inputs: int, channels: int, *, stride: int, dilation: int, projected: bool) -> None:
        super().__init__()
        outputs = channels * _EXPANSION
        self.bn1 = nn.BatchNorm2d(inputs)
        self.conv1 = nn.Conv2d(inputs, channels, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, stride, dilation, dilation=dilation, bias=False)
        self.bn3 = nn.BatchNorm2d(channels)
        self.conv3 = nn.Conv2d(channels, outputs, 1, bias=False)
        self.downsample = nn.Conv2d(inputs, outputs, 1, stride, bias=False) if projected else None

    def forward(self, x: Tensor) -> Tensor:
        return self.transform(self.activate(x), x)

    def activate(self, x: Tensor) -> Tensor:
        return torch.relu(self.bn1(x))

    def transform(self, active: Tensor, x: Tensor) -> Tensor:
        """Add to `x`, or to the projection of its active form, what the convolutions make of that."""
        h = self.conv2(torch.relu(self.bn2(self.conv1(active))))
        h = self.conv3(torch.relu(self.bn3(h)))
        return h + (x if self.downsample is None else self.downsample(active))


class ResNet50V2(Backbone):
    """ResNet-50 with pre-activation: stem and stages 1 to 3 of MXNet Gluon's, under short names of their own.

    Stages are told apart where the network normalises and activates: stage 2 ends behind the first normalisation of
    stage 3, and stage 3 behind the one that follows it. Stage 3 keeps the stride of stage 2 and dilates the 3x3
    convolutions behind its left-out stride by 2, so every second row and column is what the strided network gives.
    There is no stage 4, which public files of single layers lack: the high-level features are those of stage 3.

    References:
        He et al. (2016), Identity Mappings in Deep Residual Networks.
    """

    classifier = "output."

    def __init__(self) -> None:
        super().__init__(layer2=_CHANNELS[1] * _EXPANSION, layer3=_CHANNELS[2] * _EXPANSION, layer4=1024, stride=8)
        # Its scale is 1 and is not learned: Gluon takes out the mean colour of what it was trained on.
        self.bn0 = nn.BatchNorm2d(3)
        self.conv0 = nn.Conv2d(3, 64, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.pool = nn.MaxPool2d(3, 2, 1)
        inputs, stages = 64, []
        for stage, (blocks, channels) in enumerate(zip(_BLOCKS, _CHANNELS, strict=True)):
            built = []
            for block in range(blocks):
                stride = 2 if stage == 1 and block == 0 else 1
                dilation = 2 if stage == 2 and block > 0 else 1
                built.append(
                    _PreActivationBlock(inputs, channels, stride=stride, dilation=dilation, projected=block == 0)
                )
                inputs = channels * _EXPANSION
            stages.append(nn.ModuleList(built))
        self.stage1, self.stage2, self.stage3 = stages
        self.norm3 = nn.BatchNorm2d(inputs)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def run_to_layer2(self, images: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch layer2 h w"]:
        """Apply the stem, stages 1 and 2, and the first normalisation of stage 3."""
        x = self.pool(torch.relu(self.bn1(self.conv0(self.bn0(images)))))
        for block in (*self.stage1, *self.stage2):
            x = block(x)
        return self._first.activate(x)

    def run_layer3(self, layer2: Float[Tensor, "batch layer2 h w"]) -> Float[Tensor, "batch layer3 h w"]:
        """Apply stage 3 and the normalisation that follows it."""
        x = self._first.transform(layer2, layer2)
        for block in self.stage3[1:]:
            x = block(x)
        return torch.relu(self.norm3(x))

    def run_layer4(self, layer3: Float[Tensor, "batch layer3 h w"]) -> Float[Tensor, "batch layer4 h w"]:
        """Leave the features as they are: there is no stage 4."""
        return layer3

    @property
    def _first(self) -> _PreActivationBlock:
        first = self.stage3[0]
        assert isinstance(first, _PreActivationBlock)
        return first
