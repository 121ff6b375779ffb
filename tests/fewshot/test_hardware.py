import pytest

from fewshot.hardware import Accelerator, Hardware


def test_one_process_needs_no_strategy_and_several_share_by_ddp() -> None:
    assert (Hardware().processes, Hardware().strategy) == (1, "auto")
    shared = Hardware(devices=4, nodes=2)
    assert (shared.processes, shared.strategy) == (8, "ddp")


@pytest.mark.parametrize(
    ("accelerator", "there", "device"),
    [("auto", True, "cuda"), ("auto", False, "cpu"), ("cpu", True, "cpu"), ("gpu", True, "cuda")],
)
def test_a_gpu_is_taken_where_there_is_one_unless_told_otherwise(
    accelerator: Accelerator, there: bool, device: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: there)
    assert Hardware(accelerator=accelerator).device.type == device


def test_a_gpu_that_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(ValueError, match=r"must find a GPU .*\. Found none for PyTorch .*\. Look at the driver"):
        _ = Hardware(accelerator="gpu").device


def test_low_precision_is_mixed_precision() -> None:
    assert Hardware().lightning_precision == "32-true"
    assert Hardware(precision="bf16").lightning_precision == "bf16-mixed"


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("accelerator", "tpu", r"one of auto, cpu, gpu\. Found `accelerator = 'tpu'`\. Correct"),
        ("precision", "16", r"one of 32, bf16\. Found `precision = '16'`\. Correct"),
        ("devices", 0, r"`devices` must be positive\. Found `devices = 0`\. Pass"),
        ("nodes", 0, r"`nodes` must be positive\. Found `nodes = 0`\. Pass"),
        ("workers", -1, r"`workers` must be at least 0\. Found `workers = -1`\. Pass 0"),
    ],
)
def test_what_no_machine_is_is_refused(field: str, value: object, message: str) -> None:
    hardware = Hardware()
    # Past the constructor, whose types are checked in tests only.
    object.__setattr__(hardware, field, value)
    with pytest.raises(ValueError, match=message):
        hardware.__post_init__()
