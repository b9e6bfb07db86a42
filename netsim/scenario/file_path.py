"""Files that a scenario names: relative paths start at the scenario's folder."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field, ValidationInfo

from netsim.errors import InputError


def absolute_path(value: str, info: ValidationInfo) -> str:
    """Return the absolute path of a file that a scenario names."""
    folder = (info.context or {}).get("folder") or Path()
    return os.path.abspath(folder / Path(value).expanduser())


FilePath = Annotated[str, Field(min_length=1), AfterValidator(absolute_path)]


def read_text(path: Path) -> str:
    """Return the text of a file; raise ``InputError`` if it cannot be read."""
    if path.exists() and not path.is_file():
        raise InputError(f"'{path}' cannot be read: it is not a regular file")
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"'{path}' cannot be read: {error}") from error
