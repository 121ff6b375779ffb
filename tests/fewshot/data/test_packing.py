import pytest
import torch

from fewshot.data.labels import UNKNOWN
from fewshot.data.packing import PackedLabels, pack_labels

SIZES = ((3, 5), (1, 1), (40, 2))


def test_maps_of_any_size_come_back_as_they_were() -> None:
    maps = [torch.randint(UNKNOWN, 1000, size, dtype=torch.int16) for size in SIZES]
    packed = PackedLabels.join([pack_labels(one) for one in maps])
    assert len(packed) == len(maps)
    for number in (2, 0, 1):
        assert torch.equal(packed[number], maps[number])


def test_what_is_done_to_an_unpacked_map_does_not_reach_the_packed_one() -> None:
    packed = PackedLabels.join([pack_labels(torch.ones(2, 2, dtype=torch.int16))])
    packed[0].fill_(7)
    assert packed[0].eq(1).all()


def test_labels_of_a_photograph_take_a_fraction_of_their_room() -> None:
    labels = torch.zeros(375, 500, dtype=torch.int16)
    labels[100:200, 150:300] = 5
    assert len(pack_labels(labels).content) < labels.nbytes / 50


@pytest.mark.parametrize("labels", [torch.arange(12, dtype=torch.int16).view(3, 4).T], ids=["transposed"])
def test_maps_need_not_lie_in_order_in_memory(labels: torch.Tensor) -> None:
    assert torch.equal(PackedLabels.join([pack_labels(labels)])[0], labels)
