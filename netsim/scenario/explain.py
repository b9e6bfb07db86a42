"""What a path of a scenario may hold, in words, from its JSON Schema."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from netsim.core.quantities import did_you_mean
from netsim.errors import InputError

LIMITS = {
    "exclusiveMinimum": "above {}",
    "minimum": "at least {}",
    "exclusiveMaximum": "below {}",
    "maximum": "at most {}",
}
TYPES = {
    "integer": "a whole number",
    "number": "a number",
    "string": "text",
    "boolean": "true or false",
    "array": "a list",
    "object": "a mapping",
    "null": "nothing",
}
Node = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Found:
    """A node of a schema, and the kinds on the way to it, as ``uniform``."""

    node: Node
    kinds: tuple[str, ...] = ()
    is_required: bool = False


def explain(schema: Node, path: str) -> list[str]:
    """Return lines on a path such as ``server.sampling``: what it may hold, its kinds
    and their keys; without a path, on the whole."""
    found = [Found(schema)]
    done: list[str] = []
    for step in path.split(".") if path else ():
        found = _step(schema, found, step, ".".join(done))
        done.append(step)
    lines = _heads(schema, found, path) if path else []
    records = {
        record.node["title"]: record
        for one in found
        for record in _records(schema, one)
    }
    for record in records.values():
        lines += _record_lines(schema, record, is_short=len(records) > 1)
    return lines


def _heads(schema: Node, found: list[Found], path: str) -> list[str]:
    """Return what the path may hold; where that depends on the kind above it, a line
    for each."""
    by_words: dict[str, list[str]] = {}
    for one in found:
        by_words.setdefault(words(schema, one), []).append(".".join(one.kinds))
    return [
        f"{path}: {text}" + (f"  (in {', '.join(whose)})" if len(by_words) > 1 else "")
        for text, whose in by_words.items()
    ]


def words(schema: Node, found: Found) -> str:
    """Return what a node may hold, with its limits, unit and default."""
    node = found.node
    parts = list(dict.fromkeys(_forms(schema, node)))
    text = " or ".join(parts)
    if found.is_required:
        return f"{text}; required"
    if "default" in node:
        text += f"; default {json.dumps(node['default'], ensure_ascii=False)}"
    return text


def _forms(schema: Node, node: Node) -> Iterator[str]:
    """Yield the forms that a value may have, in words."""
    if "anyOf" in node or "oneOf" in node:
        kinds = [form for one in _forms_of(node) for form in one.get("enum", ())]
        for one in _forms_of(node):
            own = _resolved(schema, one)
            if _kind(own) not in kinds and "kind" not in own.get("required", ()):
                yield from _forms(schema, one)
        return
    node = _resolved(schema, node)
    if _keys(node):
        yield TYPES["object"]
    elif "enum" in node:
        yield f"one of {', '.join(map(str, node['enum']))}"
    elif "const" in node:
        yield str(node["const"])
    elif "x-unit" in node:
        yield f"a quantity in {node['x-unit']}, as {node['examples'][0]}"
    elif "]*:[" in node.get("pattern", ""):
        yield "package.module:Class"
    else:
        limits = [text.format(node[k]) for k, text in LIMITS.items() if k in node]
        yield ", ".join([TYPES.get(str(node.get("type")), "a value"), *limits])


def _forms_of(node: Node) -> list[Node]:
    return [*node.get("anyOf", ()), *node.get("oneOf", ())]


def _resolved(schema: Node, node: Node) -> Node:
    """Return the node that a reference names; any other node itself."""
    reference = str(node.get("$ref", ""))
    found: Node = schema["$defs"][reference.rpartition("/")[2]] if reference else node
    return found


def _records(schema: Node, found: Found) -> Iterator[Found]:
    """Yield the mappings with known keys that a node may hold, also as list items."""
    node = _resolved(schema, found.node)
    if "title" in node and (keys := _keys(node)):
        yield Found({**node, "properties": keys}, found.kinds)
        return
    inner = [*_forms_of(node), *([node["items"]] if "items" in node else [])]
    for one in inner:
        yield from _records(schema, Found(one, found.kinds))


def _keys(node: Node) -> dict[str, Node]:
    """Return a mapping's known keys; those of all its forms if it has several, as with
    and without a preset."""
    forms = [one for one in [*_forms_of(node), node] if "additionalProperties" in one]
    pairs = [pair for one in forms for pair in one.get("properties", {}).items()]
    return {key: value for key, value in pairs if isinstance(value, dict)}


def _step(schema: Node, found: list[Found], step: str, done: str) -> list[Found]:
    """Return the nodes one key further; the number of an item leads to all items, and
    any key to the values of a mapping whose keys are free."""
    records = [record for one in found for record in _records(schema, one)]
    inner = _items if step.isdecimal() else _free_values
    new = [Found(n, one.kinds) for one in found for n in inner(schema, one.node)]
    new += [
        Found(
            record.node["properties"][step],
            (*record.kinds, _kind(record.node)) if _kind(record.node) else record.kinds,
            step in record.node.get("required", ()),
        )
        for record in records
        if step in record.node["properties"]
    ]
    if not new:
        keys = sorted({key for record in records for key in record.node["properties"]})
        listed = f" (keys: {', '.join(keys)})" if keys else ", which has no keys"
        place = f"{done}: " if done else ""
        hint = did_you_mean(step, keys) or listed
        raise InputError(f"{place}unknown key {step!r}{hint}")
    return new


def _items(schema: Node, node: Node) -> Iterator[Node]:
    """Yield what the items of a list may hold, in any form of a node."""
    node = _resolved(schema, node)
    yield from node.get("prefixItems", [node["items"]] if "items" in node else [])
    for one in _forms_of(node):
        yield from _items(schema, one)


def _free_values(schema: Node, node: Node) -> Iterator[Node]:
    """Yield what a mapping with free keys may hold, in any form of a node."""
    node = _resolved(schema, node)
    if isinstance(values := node.get("additionalProperties"), dict):
        yield values
    for one in _forms_of(node):
        yield from _free_values(schema, one)


def _kind(node: Node) -> str:
    return str(node.get("properties", {}).get("kind", {}).get("const", ""))


def _record_lines(schema: Node, record: Found, *, is_short: bool) -> Iterator[str]:
    """Yield the description of a mapping and its keys; where there are several, the
    first sentence and the names of the keys."""
    node = record.node
    keys = [key for key in node["properties"] if key != "kind"]
    name = _kind(node) or str(node["title"])
    about = str(node.get("description", ""))
    if is_short:
        first = " ".join(about.split("\n\n")[0].split())
        yield f"  {name}: {first}"
        if keys:
            yield f"    keys: {', '.join(keys)}"
        return
    yield name
    yield from (f"  {line}".rstrip() for line in about.splitlines())
    for key in keys:
        one = Found(node["properties"][key], (), key in node.get("required", ()))
        yield f"  {key}: {words(schema, one)}"
