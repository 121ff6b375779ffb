"""VGG-16 with torchvision's weight names, its last stage dilated."""

from jaxtyping import Float
from torch import Tensor, nn

from fewshot.model.backbone.features import Backbone

_CHANNELS = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))
_DILATIONS = (1, 1, 1, 1, 2)


class VGG16(Backbone):
    """The convolutions of VGG-16, with or without batch normalisation.

    Stage 2 ends with the third pooling, stage 3 with the fourth, as in PFENet. There stages 3 and 4 are at 1/16; here
    the fourth pooling takes its maximum around every node (stride 1) and stage 4 is dilated by 2. Every second row and
    column of the result is exactly what the strided network gives.

    References:
        Simonyan and Zisserman (2015), Very Deep Convolutional Networks for Large-Scale Image Recognition, table 1, D.
    """

    classifier = "classifier."

    def __init__(self, *, batch_norm: bool) -> None:
        super().__init__(layer2=256, layer3=512, layer4=512, stride=8)
        layers: list[nn.Module] = []
        ends = []
        inputs = 3
        for channels, dilation, pooling in zip(_CHANNELS, _DILATIONS, _poolings(), strict=True):
            for outputs in channels:
                layers.append(nn.Conv2d(inputs, outputs, 3, padding=dilation, dilation=dilation))
                layers += [nn.BatchNorm2d(outputs), nn.ReLU()] if batch_norm else [nn.ReLU()]
                inputs = outputs
            layers += pooling
            ends.append(len(layers))
        self.features = nn.Sequential(*layers)
        self._layer2_end, self._layer3_end = ends[2:4]
        self._initialise()

    def _initialise(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def run_to_layer2(self, images: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch layer2 h w"]:
        """Apply the first seven convolutions and three poolings."""
        return self.features[: self._layer2_end](images)

    def run_layer3(self, layer2: Float[Tensor, "batch layer2 h w"]) -> Float[Tensor, "batch layer3 h w"]:
        """Apply the next three convolutions and the pooling that no longer strides."""
        return self.features[self._layer2_end : self._layer3_end](layer2)

    def run_layer4(self, layer3: Float[Tensor, "batch layer3 h w"]) -> Float[Tensor, "batch layer4 h w"]:
        """Apply the last three convolutions."""
        return self.features[self._layer3_end :](layer3)


def _poolings() -> tuple[list[nn.Module], ...]:
    """Give what follows the convolutions of each of the five groups."""
    # torchvision rounds down; as in PFENet the rest of an odd side is kept, so that all backbones have equal grids.
    halving: list[list[nn.Module]] = [[nn.MaxPool2d(2, ceil_mode=True)] for _ in range(3)]
    # A repeated last row never changes a maximum. One entry, because weights are numbered by their place in the list.
    sliding = nn.Sequential(nn.ReplicationPad2d((0, 1, 0, 1)), nn.MaxPool2d(2, stride=1))
    return *halving, [sliding], []
