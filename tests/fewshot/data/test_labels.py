import torch

from fewshot.data.labels import UNKNOWN, labels_from_bytes, mask_of_class


def test_255_of_a_stored_mask_is_unknown() -> None:
    labels = labels_from_bytes(torch.tensor([[0, 1, 254, 255]], dtype=torch.uint8))
    assert labels.dtype == torch.int16
    assert labels.tolist() == [[0, 1, 254, UNKNOWN]]


def test_the_mask_of_a_class_is_1_on_it_and_255_where_nobody_knows() -> None:
    labels = torch.tensor([[0, 255, 256, UNKNOWN]], dtype=torch.int16)
    assert mask_of_class(labels, 256).tolist() == [[0, 0, 1, 255]]
    assert mask_of_class(labels, 255).tolist() == [[0, 1, 0, 255]]
    assert mask_of_class(labels, 7).tolist() == [[0, 0, 0, 255]]
    assert labels.tolist() == [[0, 255, 256, UNKNOWN]]
