"""Turns errors of the safetensors writer into the disk's own errors."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_DRAFT = ".tmp??????"  # of safetensors
_NUMBER = re.compile(r"os error (\d+)")


@contextmanager
def tensors_written(path: Path) -> Iterator[None]:
    """Raise ``OSError`` with this path where the block cannot write safetensors; drafts
    that killed writers have left in its folder go."""
    from safetensors import SafetensorError

    for draft in path.parent.glob(_DRAFT):
        draft.unlink()
    try:
        yield
    except SafetensorError as error:
        found = _NUMBER.search(str(error))
        if found is None:
            raise
        number = int(found[1])
        what = f"cannot write, {os.strerror(number)}"
        raise OSError(number, what, str(path)) from error
