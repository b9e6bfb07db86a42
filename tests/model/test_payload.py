import pytest
import torch

from fl.model.adapters import Layout, Part
from fl.model.payload import Extent, Payload

LAYOUT = Layout(
    (
        Part("a.lora_A.weight", (2, 6), "a", "A"),
        Part("a.lora_B.weight", (4, 2), "a", "B"),
        Part("head.bias", (3,), "head", None),
    )
)
PRECISIONS = ("float32", "bfloat16", "int8", "int4")


def adapter(scale=1.0):
    torch.manual_seed(0)
    shapes = {part.name: part.shape for part in LAYOUT.parts}
    return LAYOUT.pack({n: scale * torch.randn(s) for n, s in shapes.items()})


@pytest.mark.parametrize(
    ("precision", "per", "bits"),
    [
        ("float32", "row", 23 * 32),
        ("bfloat16", "row", 23 * 16),
        ("int8", "tensor", 23 * 8 + 3 * 32),
        ("int8", "row", 23 * 8 + 7 * 32),
        ("int4", "tensor", 23 * 4 + 3 * 32),
        ("int4", "row", 23 * 4 + 7 * 32),
    ],
)
def test_bits_are_counted_by_hand(precision, per, bits):
    payload = Payload(precision=precision, scale_per=per)
    assert Extent.of(LAYOUT.parts) == Extent(23, 3, 7)
    assert payload.bits(Extent.of(LAYOUT.parts)) == bits
    assert payload.bits(Extent(23, 3, 7)) == bits


def test_numbers_are_rounded_by_hand():
    tensor = torch.tensor([[1.0, -0.6, 0.25], [0.0, 0.0, 0.0], [-14.0, 3.0, 5.0]])
    per_row = Payload(precision="int4", scale_per="row").rounded(tensor)
    # steps 7, -4.2 -> -4, 1.75 -> 2 of a seventh; -7, 1.5 -> 2, 2.5 -> 2 of two
    wanted = [[1.0, -4 / 7, 2 / 7], [0.0, 0.0, 0.0], [-14.0, 4.0, 4.0]]
    torch.testing.assert_close(per_row, torch.tensor(wanted))
    per_tensor = Payload(precision="int4", scale_per="tensor").rounded(tensor)
    wanted = [[0.0, 0.0, 0.0], [0.0, 0.0, 0.0], [-14.0, 4.0, 4.0]]
    torch.testing.assert_close(per_tensor, torch.tensor(wanted))


@pytest.mark.parametrize("per", ["tensor", "row"])
@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_delivery_keeps_layout_and_nearly_the_numbers(precision, per):
    sent = adapter()
    payload = Payload(precision=precision, scale_per=per)
    received = payload.delivered(sent)
    assert received.layout == sent.layout
    assert received.flat.dtype == sent.flat.dtype
    largest = sent.flat.abs().max()
    error = (received.flat - sent.flat).abs().max() / largest
    steps = {"float32": 1e9, "bfloat16": 128, "int8": 127, "int4": 7}
    assert error <= 0.5 / steps[precision] + 1e-6
    assert received == payload.delivered(sent)
    if precision != "float32":
        assert received != sent


@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_delivery_of_what_was_delivered_changes_nothing(precision):
    payload = Payload(precision=precision)
    once = payload.delivered(adapter())
    torch.testing.assert_close(payload.delivered(once).flat, once.flat)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_no_size_of_numbers_is_lost(precision):
    payload = Payload(precision=precision)
    for scale in (1e-30, 1e30):
        sent = adapter(scale)
        received = payload.delivered(sent)
        assert (received.flat - sent.flat).abs().max() < 0.2 * sent.flat.abs().max()
    single = torch.tensor(3.0)
    assert payload.rounded(single).shape == ()
