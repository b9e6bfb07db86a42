"""Values as Arrow columns, and their values and nulls again, by way of the buffers:
``pa.array`` and ``to_numpy`` would import pandas, a third of a run's start-up."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from typing import Any, TypeAlias, cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa

Column: TypeAlias = Sequence[object] | npt.NDArray[np.generic]

_CODES = {pa.int64(): "q", pa.float64(): "d"}
_KINDS = {pa.int64(): "i", pa.float64(): "fi"}  # of numpy
_DTYPES = {pa.int64(): np.int64, pa.float64(): np.float64}


def column_of(field: pa.Field, values: Column) -> pa.Array:
    """Return values as a column; raise ``TypeError`` or ``OverflowError`` for one of
    another type, also for a float among integers."""
    if field.type in _CODES:
        return _numbers(field, values)
    if field.type == pa.bool_():
        return pa.Array.from_buffers(field.type, len(values), [None, _bits(values)])
    words = values.tolist() if isinstance(values, np.ndarray) else values
    if field.type == pa.string():
        return _texts(cast(Sequence[str], words))
    distinct = list(dict.fromkeys(words))
    if len(distinct) == 1:
        indices = array("i", bytes(4 * len(words)))
    else:
        codes = {word: code for code, word in enumerate(distinct)}
        indices = array("i", map(codes.__getitem__, words))
    buffers = [None, pa.py_buffer(indices)]
    return pa.DictionaryArray.from_arrays(
        pa.Array.from_buffers(pa.int32(), len(indices), buffers),
        _texts(cast(list[str], distinct)),
    )


def is_present(column: pa.Array) -> npt.NDArray[np.uint8]:
    """Return one where a column has a value, zero where it has none."""
    bits = column.buffers()[0]
    if bits is None:
        return np.ones(len(column), np.uint8)
    return _unpacked(bits, column)


def numbers_of(column: pa.Array) -> npt.NDArray[Any]:
    """Return a column's numbers or booleans; a missing one is zero."""
    data = column.buffers()[1]
    if column.type == pa.bool_():
        return _unpacked(data, column)
    values = np.frombuffer(data, _DTYPES[column.type])
    values = values[column.offset : column.offset + len(column)]
    return np.where(is_present(column), values, 0) if column.null_count else values


def texts_of(column: pa.Array) -> tuple[npt.NDArray[np.int32], memoryview]:
    """Return the lengths in bytes of a column's texts, and these one after another."""
    _, offsets, text = column.buffers()
    bounds = np.frombuffer(offsets, np.int32)
    bounds = bounds[column.offset : column.offset + len(column) + 1]
    content = memoryview(b"" if text is None else text)
    return np.diff(bounds), content[bounds[0] : bounds[-1]]


def words_of(
    column: pa.DictionaryArray,
) -> tuple[npt.NDArray[np.int32], bytes]:
    """Return :func:`texts_of` a column of words; to cast it imports much of Arrow."""
    lengths, text = texts_of(column.dictionary)
    ends = np.cumsum(lengths).tolist()
    words = [
        bytes(text[e - n : e]) for e, n in zip(ends, lengths.tolist(), strict=True)
    ]
    indices = indices_of(column)
    if len(words) == 1:
        return lengths[indices], words[0] * len(column)
    return lengths[indices], b"".join(map(words.__getitem__, indices.tolist()))


def indices_of(column: pa.DictionaryArray) -> npt.NDArray[np.int32]:
    """Return the place of each word in the column's dictionary."""
    indices = np.frombuffer(column.indices.buffers()[1], np.int32)
    return indices[column.offset : column.offset + len(column)]


def _numbers(field: pa.Field, values: Column) -> pa.Array:
    present, data = None, values
    if isinstance(values, np.ndarray):
        if values.dtype.kind not in _KINDS[field.type]:
            raise TypeError(f"got {values.dtype}")
        data = np.ascontiguousarray(values, _DTYPES[field.type])
    else:
        num_missing = values.count(None) if field.nullable else 0
        if num_missing and num_missing == len(values):
            present, data = _bits(np.zeros(len(values))), bytes(8 * len(values))
        elif num_missing:
            present = _bits([value is not None for value in values])
            data = [0 if value is None else value for value in values]
        data = array(_CODES[field.type], cast(Sequence[Any], data))
    buffers = [present, pa.py_buffer(data)]
    return pa.Array.from_buffers(field.type, len(values), buffers)


def _bits(values: Column) -> pa.Buffer:
    if not isinstance(values, np.ndarray) and not set(map(type, values)) <= {bool}:
        raise TypeError("got values that are not true or false")
    return pa.py_buffer(np.packbits(np.asarray(values, bool), bitorder="little"))


def _texts(texts: Sequence[str]) -> pa.Array:
    encoded = [text.encode() for text in _checked(texts)]
    bounds = np.zeros(len(encoded) + 1, np.int32)
    np.cumsum([len(one) for one in encoded], out=bounds[1:])
    buffers = [None, pa.py_buffer(bounds), pa.py_buffer(b"".join(encoded))]
    return pa.Array.from_buffers(pa.string(), len(encoded), buffers)


def _checked(texts: Sequence[str]) -> Sequence[str]:
    for text in texts:
        if not isinstance(text, str):
            raise TypeError(f"got {text!r}")
    return texts


def _unpacked(bits: pa.Buffer, column: pa.Array) -> npt.NDArray[np.uint8]:
    bytes_ = np.frombuffer(bits, np.uint8)
    end = column.offset + len(column)
    return np.unpackbits(bytes_, bitorder="little", count=end)[column.offset :]
