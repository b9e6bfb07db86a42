"""Strict YAML reading: plain data with the line and column of every part."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, Protocol, TypeAlias

import yaml

from netsim.errors import InputError

try:
    from yaml import CSafeLoader as SafeLoader
except ImportError:  # PyYAML without its C library
    from yaml import SafeLoader  # type: ignore[assignment]

MAX_BYTES = 1_000_000
MAX_DEPTH = 50
MAX_NODES = 100_000
MAX_INT_DIGITS = 400

KeyPath: TypeAlias = tuple[str | int, ...]
YamlValue: TypeAlias = (
    "str | int | float | bool | tuple[YamlValue, ...] | YamlMapping | None"
)
YamlMapping: TypeAlias = "dict[str | int, YamlValue]"

_NOT_TEXT = re.compile(
    "[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]"
)
_TAG = "tag:yaml.org,2002:"
_HINTS = {
    "mapping values are not allowed": "a ':' too many, or text that needs quotes?",
    "could not find expected ':'": "a ':' and a space after the key?",
    "did not find expected key": "check the indentation",
    "did not find expected '-' indicator": "check the indentation",
    "did not find expected ',' or": "a bracket left open?",
    "undefined alias": "'*name' needs an '&name' before it",
}


class Position(NamedTuple):
    """A position in a file; line and column count from 1."""

    line: int
    column: int


class _Mark(Protocol):
    """PyYAML's position in a text, counted from 0."""

    @property
    def line(self) -> int: ...
    @property
    def column(self) -> int: ...


class Source(NamedTuple):
    """The name and the lines of a text, for messages that point into it.

    A command-line value has no lines, and its messages have no position.
    """

    name: str
    lines: tuple[str, ...]

    def point(self, at: Position, message: str) -> str:
        """Return the message with its position, the source line and a caret."""
        if not self.lines:
            return f"{self.name}: {message}"
        head = f"{self.name}:{at.line}:{at.column}: {message}"
        line = self.lines[at.line - 1] if at.line <= len(self.lines) else ""
        if not line.strip():
            return head
        start = max(0, at.column - 60)
        shown = line.replace("\t", " ")[start : start + 100]
        return f"{head}\n    {shown}\n    {' ' * (at.column - 1 - start)}^"


@dataclass(frozen=True)
class Document:
    """A YAML mapping as plain data, with the position of every key and value."""

    source: Source
    data: YamlMapping
    values: Mapping[KeyPath, Position]
    keys: Mapping[KeyPath, Position]


def read_document(path: Path) -> Document:
    """Read the YAML file at ``path``."""
    return parse_document(_decode(_read_bytes(path), str(path)), str(path))


def parse_document(text: str, name: str) -> Document:
    """Parse a YAML text whose top level is a mapping."""
    source = Source(name, tuple(text.splitlines()))
    builder = _Builder(source)
    node = _compose(text, source)
    if node is None:
        raise InputError(f"{name}: is empty: a scenario is a mapping of keys to values")
    data = builder.build(node, ())
    if not isinstance(data, dict):
        raise builder.refusal(node, "the top level must be a mapping (key: value)")
    return Document(source, data, builder.values, builder.keys)


def parse_value(text: str, name: str) -> YamlValue:
    """Return the YAML value of a command-line argument; empty text is null."""
    source = Source(name, ())
    node = _compose(text, source)
    return None if node is None else _Builder(source).build(node, ())


def _read_bytes(path: Path) -> bytes:
    """Return the content of a file of at most ``MAX_BYTES``."""
    try:
        if path.is_dir():
            raise InputError(f"{path}: is a folder, not a scenario file")
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise InputError(
                f"{path}: is larger than 1 MB ({size} bytes): is this a scenario?"
            )
        with path.open("rb") as file:
            return file.read(MAX_BYTES + 1)  # a pipe or device reports size 0
    except FileNotFoundError:
        raise InputError(f"{path}: no such file{_nearest_file(path)}") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from error


def _nearest_file(path: Path) -> str:
    """Return a hint with the most similar file of the same folder, or an empty
    string."""
    if not path.parent.is_dir():
        return f" (nor a folder {str(path.parent)!r})"
    names = sorted(p.name for p in path.parent.iterdir() if p.is_file())
    near = difflib.get_close_matches(path.name, names, n=1, cutoff=0.5)
    return f"; did you mean {str(path.parent / near[0])!r}?" if near else ""


def _decode(content: bytes, name: str) -> str:
    """Return the bytes as UTF-8 text; an error names the first invalid byte."""
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = content[: error.start]
        line = before.count(b"\n") + 1
        column = error.start - (before.rfind(b"\n") + 1) + 1
        raise InputError(
            f"{name}:{line}:{column}: is not UTF-8 text "
            f"(byte 0x{content[error.start]:02x}): is this a scenario?"
        ) from error


class _Loader(SafeLoader):
    """PyYAML with the scalars of YAML 1.2: ``on``, ``1:30`` and dates are text."""

    yaml_implicit_resolvers: ClassVar[dict[str | None, list[Any]]] = {}  # type: ignore[misc]


SCALARS = (
    ("null", r"~|null|Null|NULL|", [*"~nN", ""]),
    ("bool", r"true|True|TRUE|false|False|FALSE", [*"tTfF"]),
    ("int", r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", [*"-+0123456789"]),
    (
        "float",
        r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?"
        r"|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
        [*"-+.0123456789"],
    ),
)
for _name, _pattern, _first in SCALARS:
    _Loader.add_implicit_resolver(
        _TAG + _name, re.compile(rf"^(?:{_pattern})$"), _first
    )


def _compose(text: str, source: Source) -> yaml.Node | None:
    """Return the node tree of one document, or None if the text is empty."""
    if len(text.encode("utf-8", "surrogatepass")) > MAX_BYTES:
        raise InputError(f"{source.name}: is larger than 1 MB: is this a scenario?")
    bad = _NOT_TEXT.search(text)
    if bad:
        at = _position(text, bad.start())
        raise InputError(
            f"{source.name}:{at.line}:{at.column}: is not text (character "
            f"0x{ord(bad.group()):02x}): is this a scenario?"
        )
    try:
        _check_shape(text, source)
        node: yaml.Node | None = yaml.compose(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        raise InputError(_explain(error, source)) from error
    return node


def _check_shape(text: str, source: Source) -> None:
    """Refuse a second document and deep nesting before PyYAML recurses."""
    depth = num_documents = 0
    for event in yaml.parse(text, Loader=_Loader):
        depth += isinstance(event, yaml.CollectionStartEvent)
        depth -= isinstance(event, yaml.CollectionEndEvent)
        num_documents += isinstance(event, yaml.DocumentStartEvent)
        if depth > MAX_DEPTH:
            message = f"is nested deeper than {MAX_DEPTH} levels"
        elif num_documents > 1:
            message = "a second document starts here; a scenario is one document"
        else:
            continue
        assert event.start_mark is not None
        raise InputError(source.point(_at(event.start_mark), message))


def _explain(error: yaml.MarkedYAMLError, source: Source) -> str:
    """Return a YAML syntax error as one message with its position."""
    mark = error.problem_mark or error.context_mark
    if mark and mark.line >= len(source.lines) and error.context_mark:
        mark = error.context_mark  # the start of what is unclosed at the end
    at = _at(mark) if mark else Position(1, 1)
    line = source.lines[at.line - 1] if at.line <= len(source.lines) else ""
    tab = line.find("\t")
    if tab >= 0 and not line[:tab].strip(" -"):
        at = Position(at.line, tab + 1)
        return source.point(at, "a tab cannot indent YAML; use spaces")
    problem = error.problem or "not valid YAML"
    hints = (hint for words, hint in _HINTS.items() if words in problem)
    hint = next(hints, None)
    return source.point(at, f"not valid YAML: {problem}{f' ({hint})' if hint else ''}")


def _position(text: str, index: int) -> Position:
    start = max(text.rfind("\n", 0, index), text.rfind("\r", 0, index)) + 1
    return Position(len(text[:index].splitlines() or [""]), index - start + 1)


def _at(mark: _Mark) -> Position:
    return Position(mark.line + 1, mark.column + 1)


@dataclass
class _Builder:
    """Turns YAML nodes into plain data and records their positions."""

    source: Source
    values: dict[KeyPath, Position] = field(default_factory=dict)
    keys: dict[KeyPath, Position] = field(default_factory=dict)

    def build(self, node: yaml.Node, path: KeyPath) -> YamlValue:
        """Return the value of ``node``; an alias is expanded at each use."""
        self.values[path] = _at(node.start_mark)
        if len(self.values) > MAX_NODES:
            raise self.refusal(node, f"has more than {MAX_NODES} values")
        if len(path) >= MAX_DEPTH:
            message = f"is nested deeper than {MAX_DEPTH} levels (an alias in itself?)"
            raise self.refusal(node, message)
        if isinstance(node, yaml.MappingNode) and node.tag == _TAG + "map":
            return self._mapping(node, path)
        if isinstance(node, yaml.SequenceNode) and node.tag == _TAG + "seq":
            items = enumerate(node.value)
            return tuple(self.build(item, (*path, i)) for i, item in items)
        return self._scalar(node)

    def refusal(self, node: yaml.Node, message: str) -> InputError:
        """Return the error that points at ``node``."""
        return InputError(self.source.point(_at(node.start_mark), message))

    def _mapping(self, node: yaml.MappingNode, path: KeyPath) -> YamlMapping:
        data: YamlMapping = {}
        for key_node, value_node in node.value:
            key = self._key(key_node)
            here = (*path, key)
            if key in data:
                first = self.keys[here]
                raise self.refusal(
                    key_node,
                    f"key {str(key)!r} is given twice, first at "
                    f"{first.line}:{first.column}",
                )
            self.keys[here] = _at(key_node.start_mark)
            data[key] = self.build(value_node, here)
        return data

    def _key(self, node: yaml.Node) -> str | int:
        if node.value == "<<" and isinstance(node, yaml.ScalarNode):
            raise self.refusal(node, "merge keys ('<<') are not supported")
        key = self._scalar(node) if isinstance(node, yaml.ScalarNode) else None
        if isinstance(key, bool) or not isinstance(key, str | int):
            raise self.refusal(node, "a key must be text; put it in quotes")
        return key

    def _scalar(self, node: yaml.Node) -> YamlValue:
        text = node.value
        tag = str(node.tag).removeprefix(_TAG)
        if not isinstance(node, yaml.ScalarNode) or tag not in _SCALAR_TYPES:
            shown = str(node.tag).replace(_TAG, "!!")
            raise self.refusal(node, f"the YAML tag {shown!r} is not supported")
        if tag == "int" and len(text) > MAX_INT_DIGITS:
            raise self.refusal(node, f"has more than {MAX_INT_DIGITS} digits")
        try:
            return _SCALAR_TYPES[tag](text)
        except ValueError:
            raise self.refusal(node, f"{text[:40]!r} is not a YAML {tag}") from None


def _read_int(text: str) -> int:
    return int(text, 0) if text[:2] in ("0x", "0o") else int(text)


def _read_float(text: str) -> float:
    return float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))


_SCALAR_TYPES: Mapping[str, Callable[[str], YamlValue]] = {
    "str": str,
    "null": lambda text: None,
    "bool": lambda text: text.lower() == "true",
    "int": _read_int,
    "float": _read_float,
}
