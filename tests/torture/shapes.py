"""Values drawn from the program's JSON Schema."""

import random

MAX_DEPTH = 8
WORDS = ("a", "digits", "full", "none", "0", "x.csv", "scenario.yaml", "big")
NUMBERS = (0, 1, 2, 3, 8, 16, 0.5, 0.1, 1.5, 100)


class Shapes:
    """A schema as a source of values, and of the keys at a path."""

    def __init__(self, schema):
        self._root = schema
        self._defs = schema.get("$defs", {})

    def resolved(self, node):
        """Return a node with its reference resolved; ``True`` admits anything."""
        if node is True:
            return {}
        if "$ref" not in node:
            return node
        found = self._defs[node["$ref"].rsplit("/", 1)[-1]]
        return {**found, **{k: v for k, v in node.items() if k != "$ref"}}

    def alternatives(self, node):
        """Return the alternatives of a node, references resolved."""
        node = self.resolved(node)
        several = node.get("anyOf") or node.get("oneOf")
        if not several:
            return [node]
        return [one for part in several for one in self.alternatives(part)]

    def at(self, path):
        """Return the possible nodes at a path of keys and indices."""
        nodes = self.alternatives(self._root)
        for step in path:
            nodes = [
                one
                for node in nodes
                for below in self._below(node, step)
                for one in self.alternatives(below)
            ]
        return nodes

    def keys(self, path):
        """Return every possible key of a mapping at a path."""
        return sorted({key for node in self.at(path) for key in _properties(node)})

    def draw(self, path, rng):
        """Return a valid value for a path, or a number if there is none."""
        nodes = self.at(path)
        return self._draw(rng.choice(nodes), rng, 0) if nodes else rng.choice(NUMBERS)

    def document(self, rng):
        """Return a whole document."""
        return self._draw(self.resolved(self._root), rng, 0)

    def _below(self, node, step):
        if isinstance(step, int):
            return [node["items"]] if isinstance(node.get("items"), dict) else []
        found = _properties(node).get(step, node.get("additionalProperties"))
        return [found] if isinstance(found, dict) else []

    def _draw(self, node, rng, depth):
        node = rng.choice(self.alternatives(node))
        if "const" in node:
            return node["const"]
        if "enum" in node:
            return rng.choice(node["enum"])
        if "x-unit" in node and "examples" in node:
            number = rng.choice((0, 0.001, 0.5, 1, 3, 20, 500))
            unit = rng.choice(node["examples"]).split()[-1]
            return f"{number} {unit}"
        kind = node.get("type", "object" if "properties" in node else "string")
        return getattr(self, f"_{kind}")(node, rng, depth)

    def _object(self, node, rng, depth):
        required = node.get("required", ())
        chance = 0.3 if depth < MAX_DEPTH else 0.0
        return {
            key: self._draw(below, rng, depth + 1)
            for key, below in _properties(node).items()
            if key in required or key == "kind" or rng.random() < chance
        }

    def _array(self, node, rng, depth):
        items = node.get("items")
        count = max(node.get("minItems", 0), rng.choice((0, 1, 1, 2, 3)))
        if not isinstance(items, dict) or depth > MAX_DEPTH:
            return []
        return [self._draw(items, rng, depth + 1) for _ in range(count)]

    def _integer(self, node, rng, depth):
        low = int(node.get("minimum", node.get("exclusiveMinimum", -1) + 1))
        return low + rng.choice((0, 1, 2, 3, 7, 20))

    def _number(self, node, rng, depth):
        low = node.get("minimum", node.get("exclusiveMinimum", 0))
        high = node.get("maximum", node.get("exclusiveMaximum", low + 10))
        return low + rng.choice((0.0, 0.01, 0.5, 0.99, 1.0)) * (high - low)

    def _string(self, node, rng, depth):
        return rng.choice(node.get("examples") or WORDS)

    def _boolean(self, node, rng, depth):
        return rng.random() < 0.5

    def _null(self, node, rng, depth):
        return None


def _properties(node):
    return node.get("properties", {})


def places(data, path=()):
    """Return the path of every part of a document, the root first."""
    found = [path]
    steps = (
        data.items()
        if isinstance(data, dict)
        else enumerate(data)
        if isinstance(data, list)
        else ()
    )
    for step, value in steps:
        found += places(value, (*path, step))
    return found


def seeded(*parts):
    """Return the generator of a named purpose."""
    return random.Random(":".join(map(str, parts)))
