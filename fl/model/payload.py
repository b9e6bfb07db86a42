"""The payload of a transfer: number of bits, precision and rounding."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias

from fl.model.adapters import Adapter, Part
from fl.record import Record

if TYPE_CHECKING:
    from torch import Tensor

SCALE_BITS = 32  # float32


@dataclass(frozen=True, slots=True)
class Extent:
    """The size of a payload: numbers, and the tensors and rows that contain them."""

    num_numbers: int
    num_tensors: int
    num_rows: int

    @classmethod
    def of(cls, parts: Iterable[Part]) -> Extent:
        """Return the extent of these tensors of an adapter."""
        listed = tuple(parts)
        return cls(
            num_numbers=sum(part.num_numbers for part in listed),
            num_tensors=len(listed),
            num_rows=sum(num_rows(part.shape) for part in listed),
        )

    def __add__(self, other: Extent) -> Extent:
        """Return the sum of two extents."""
        return Extent(
            self.num_numbers + other.num_numbers,
            self.num_tensors + other.num_tensors,
            self.num_rows + other.num_rows,
        )


class Shape(NamedTuple):
    """The shape of an adapted matrix."""

    num_rows: int  # m
    num_columns: int  # n


PartName: TypeAlias = Literal["A", "B", "core"]


def part_extent(part: PartName, shape: Shape, rank: int) -> Extent:
    """Return the extent of one part of a matrix's adapter: A [r, n], B [m, r], or the
    core [r, r]."""
    sizes = {"A": (rank, shape.num_columns), "B": (shape.num_rows, rank)}
    num_rows, num_columns = sizes.get(part, (rank, rank))
    return Extent(num_rows * num_columns, 1, num_rows)


def parts_extent(
    parts: Iterable[PartName], shapes: Iterable[Shape], rank: int
) -> Extent:
    """Return the extent of these parts of the adapters of all matrices."""
    listed = tuple(parts)
    extents = (part_extent(part, shape, rank) for shape in shapes for part in listed)
    return sum(extents, NOTHING)


NOTHING = Extent(0, 0, 0)


class Payload(Record):
    """The precision of an adapter's numbers in transfers, in both directions.

    ``int8`` and ``int4`` are symmetric: the largest magnitude of a tensor, or of each
    row, becomes 127 or 7, and the other numbers are rounded to the nearest integer
    (halves to even). A float32 scale is sent for each tensor or row. Numbers are packed
    without gaps.
    """

    precision: Literal["float32", "bfloat16", "int8", "int4"] = "float32"
    scale_per: Literal["tensor", "row"] = "row"

    @property
    def bits_per_number(self) -> int:
        """Return the bits of one number, without scales."""
        return {"float32": 32, "bfloat16": 16, "int8": 8, "int4": 4}[self.precision]

    def bits(self, extent: Extent) -> int:
        """Return the bits of a payload, scales included."""
        return extent.num_numbers * self.bits_per_number + SCALE_BITS * (
            self.num_scales(extent)
        )

    def num_scales(self, extent: Extent) -> int:
        """Return the number of scales that are sent."""
        if self.precision in ("float32", "bfloat16"):
            return 0
        return extent.num_rows if self.scale_per == "row" else extent.num_tensors

    def delivered(
        self, adapter: Adapter, is_sent: Callable[[Part], bool] = lambda part: True
    ) -> Adapter:
        """Return the adapter as received, after rounding of the parts that are sent."""
        if self.precision == "float32":
            return adapter
        tensors = adapter.tensors()
        for part in filter(is_sent, adapter.layout.parts):
            tensors[part.name] = self.rounded(tensors[part.name])
        return adapter.layout.pack(tensors)

    def rounded(self, tensor: Tensor) -> Tensor:
        """Return a tensor as received, in its own dtype."""
        import torch

        if self.precision == "float32":
            return tensor
        if self.precision == "bfloat16":
            return tensor.to(torch.bfloat16).to(tensor.dtype)
        largest = {"int8": 127, "int4": 7}[self.precision]
        return _symmetric(tensor, largest, per_row=self.scale_per == "row")


def num_rows(shape: tuple[int, ...]) -> int:
    """Return the number of rows of a tensor; a vector or a scalar is one row."""
    return math.prod(shape[:-1])


def _symmetric(tensor: Tensor, largest: int, *, per_row: bool) -> Tensor:
    import torch

    rows = tensor.reshape(num_rows(tuple(tensor.shape)) if per_row else 1, -1)
    peak = rows.abs().amax(dim=1, keepdim=True).to(torch.float32)
    scale = (peak / largest).to(tensor.dtype)
    # a row of zeros stays zero with any scale
    steps = torch.round(rows / torch.where(scale > 0, scale, 1))
    return (steps.clamp(-largest, largest) * scale).reshape(tensor.shape)
