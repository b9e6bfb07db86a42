"""The folder of a Flower app: its components, its settings, its code."""

from __future__ import annotations

import hashlib
import os
import re
import sys
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from flwr.clientapp import ClientApp
    from flwr.serverapp import ServerApp

Value: TypeAlias = bool | int | float | str
PROJECT = "pyproject.toml"
RUN_FILES = ("manifest.json", "scenario.yaml")  # of a run's folder
_SETTING = re.compile(r"(\S+?)=('[^']*'|\"[^\"]*\"|\S+)")
_TORCH = re.compile(r"^\s*(import|from)\s+(torch|transformers|peft|lightning|monai)\b")


@dataclass(frozen=True, slots=True)
class Project:
    """A Flower app that is not loaded yet."""

    folder: Path
    server: str  # module:attribute
    client: str
    config: Mapping[str, Value]

    @classmethod
    def read(cls, folder: Path, given: Mapping[str, Value] | None = None) -> Project:
        """Return the app of a folder, with settings given in place of its own; raises
        ``ValueError`` where it is none."""
        path = folder / PROJECT
        if not path.is_file():
            raise ValueError(f"'{folder}' is no Flower app: it has no {PROJECT}")
        try:
            app = tomllib.loads(path.read_text("utf-8"))["tool"]["flwr"]["app"]
            parts = [app["components"][name] for name in ("serverapp", "clientapp")]
        except (KeyError, TypeError) as error:
            raise ValueError(
                f"'{path}' names no [tool.flwr.app.components] with serverapp and "
                f"clientapp: {error} is missing"
            ) from error
        except ValueError as error:
            raise ValueError(f"'{path}' cannot be read: {error}") from error
        config = dict(_flat(app.get("config", {})))
        unknown = set(given or {}) - set(config)
        if unknown:
            raise ValueError(
                f"'{path}' has no setting {sorted(unknown)[0]!r} in "
                f"[tool.flwr.app.config]; it has {', '.join(sorted(config)) or 'none'}"
            )
        server, client = map(str, parts)
        return cls(folder, server, client, config | dict(given or {}))

    @property
    def digest(self) -> str:
        """Return the SHA-256 of the app's files and their names, without compiled
        code, hidden files and runs."""
        found = hashlib.sha256()
        for file in self._files():
            content = hashlib.sha256(file.read_bytes()).hexdigest()
            found.update(f"{file.relative_to(self.folder)} {content}\n".encode())
        return found.hexdigest()

    @property
    def uses_torch(self) -> bool:
        """Return whether a source of the app imports torch, or what is made of it."""
        files = (file for file in self._files() if file.suffix == ".py")
        texts = (file.read_text("utf-8", "replace") for file in files)
        return any(_TORCH.match(line) for text in texts for line in text.splitlines())

    def _files(self) -> Iterator[Path]:
        """Yield the app's files by their names; runs may lie in its folder too."""
        for place, folders, files in os.walk(self.folder):
            here = Path(place)
            folders[:] = [
                one
                for one in sorted(folders)
                if not one.startswith((".", "__pycache__"))
                and not all((here / one / name).is_file() for name in RUN_FILES)
            ]
            yield from (here / one for one in sorted(files) if one[0] != ".")

    def load_server(self) -> ServerApp:
        """Return the app's server, imported from its folder."""
        from flwr.serverapp import ServerApp

        return _instance(self._load(self.server), ServerApp, self.server)

    def load_client(self) -> ClientApp:
        """Return the app's client, imported from its folder."""
        from flwr.clientapp import ClientApp

        return _instance(self._load(self.client), ClientApp, self.client)

    def unload(self) -> None:
        """Forget the modules that were imported from the folder."""
        sys.path[:] = [path for path in sys.path if path != str(self.folder)]
        for name, module in list(sys.modules.items()):
            file = getattr(module, "__file__", None)
            if file and Path(file).is_relative_to(self.folder):
                del sys.modules[name]

    def _load(self, place: str) -> object:
        from flwr.supercore.object_ref import load_app

        try:
            return load_app(place, ValueError, self.folder)
        except ImportError as error:
            raise ValueError(f"{place} cannot be imported: {error}") from error


def parsed_config(texts: Iterable[str]) -> dict[str, Value]:
    """Return settings written as ``flwr run --run-config`` takes them: ``name=value``,
    several to a text, values as in TOML."""
    found: dict[str, Value] = {}
    for text in texts:
        pairs = _SETTING.findall(text)
        try:
            read = tomllib.loads("\n".join(f"{k} = {v}" for k, v in pairs))
        except tomllib.TOMLDecodeError as error:
            raise ValueError(f"--run-config {text}: {error}") from error
        if not pairs or _SETTING.sub("", text).strip():
            raise ValueError(f"--run-config {text}: must be of the form name=value")
        found |= dict(_flat(read))
    return found


def _instance(found: Any, kind: Any, place: str) -> Any:
    if not isinstance(found, kind):
        raise ValueError(f"{place} is no {kind.__name__}, it is {type(found).__name__}")
    return found


def _flat(values: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, Value]]:
    """Yield the settings of nested tables under joined names, as Flower does."""
    for key, value in values.items():
        name = f"{before}.{key}" if before else key
        if isinstance(value, dict):
            yield from _flat(value, name)
        elif isinstance(value, bool | int | float | str):
            yield name, value
        else:
            raise ValueError(f"setting {name} must be one value, got {value!r}")
