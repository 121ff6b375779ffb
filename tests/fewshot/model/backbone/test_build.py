import pytest

from fewshot.model.backbone import BackboneName, build_backbone


@pytest.mark.parametrize("name", ["small", "vgg16", "vgg16_bn"])
def test_a_deep_stem_is_refused_where_there_is_none(name: BackboneName) -> None:
    with pytest.raises(ValueError, match=rf"Found 'deep' for '{name}'\. Leave `stem` out, or choose one of .*resnet50"):
        build_backbone(name, stem="deep")
