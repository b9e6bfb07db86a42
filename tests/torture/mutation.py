"""Mutations of valid YAML, by structure and by bytes."""

import copy
import math

import yaml

from tests.torture.shapes import places

UNITS = ("Hz", "MHz", "s", "ms", "dBm", "dB", "W", "m", "km", "GB", "bit", "day", "x")
HOSTILE = (
    *(0, -1, 1, 2, 10**6, 10**9, 10**12, 2**31, 2**63 - 1, 2**63, 10**30, -(10**18)),
    *(math.nan, math.inf, -math.inf, -0.0, 1e308, 5e-324, 1e-300, 0.1, 1.0000001),
    *("", " ", "nan", "inf", "-0", "null", "~", "a" * 5000, "é\u202e😀", "0x10", "1e3"),
    *("../..", "/", ".", "/dev/null", "/dev/zero", "/nonexistent/x", "a\nb", "a\tb"),
    *(
        "os:system",
        "os.path:join",
        "netsim.network.cell:Cell",
        "a.b:C",
        ":",
        "1:2",
        "kind",
    ),
    *(None, True, False, [], {}, [[]], [None], {"kind": None}, {"kind": "x"}, {1: 2}),
    *(["a", "b"], {"a": {"b": {"c": {}}}}, [1, 2, 3], [0.5, 0.5], ["1 Hz", "2 Hz"]),
)
AMOUNTS = (0, -1, -0.0, 1, 1e-300, 1e-12, 1e-9, 1e12, 1e300, "nan", "inf", 10**40)
SPLICES = (
    *(b"\x00", b"\xff\xfe", b"\xef\xbb\xbf", b"\xc3\x28", b"\x1b[2J", b"\x85", b"\r"),
    *(b"\t", b"\n", b": ", b"- ", b"[", b"]", b"{", b"}", b"&a ", b"*a", b"!!python/"),
    *(b"!!binary ", b"|\n", b">\n", b"'", b'"', b"#", b"%YAML 9.9\n", b"---\n", b"..."),
    *(b"<<: *a\n", b"? ", b"@", b"`", b"\xe2\x80\xa8", b"9" * 500, b"1_0", b"1:30"),
)


def mutated(data, shapes, rng):
    """Return a document with one to four parts of it changed."""
    data = copy.deepcopy(data)
    for _ in range(rng.choice((1, 1, 1, 2, 2, 4))):
        found = places(data)
        operation = rng.choice(OPERATIONS)
        data = operation(data, rng.choice(found), shapes, rng)
    return data


def redrawn(data, shapes, rng):
    """Return a document with one or two sections redrawn from the schema."""
    data = copy.deepcopy(data)
    for _ in range(rng.choice((1, 1, 2))):
        sections = [path for path in places(data) if 1 <= len(path) <= 3]
        path = rng.choice(sections)
        data = _put(data, path, shapes.draw(path, rng))
    return data


def as_yaml(data):
    """Return a document as text."""
    return yaml.safe_dump(data, sort_keys=False, allow_unicode=True).encode()


def scrambled(content, rng):
    """Return a file's bytes with one to three changes."""
    for _ in range(rng.choice((1, 1, 2, 3))):
        first = rng.randrange(len(content) + 1)
        last = min(len(content), first + rng.choice((0, 1, 1, 2, 5, 40, 200)))
        piece = rng.choice(
            (
                b"",
                rng.choice(SPLICES),
                rng.randbytes(rng.choice((1, 1, 4))),
                content[first:last] * 2,
                content[last : last + 30],
            )
        )
        content = content[:first] + piece + content[last:]
        if rng.random() < 0.05:
            content = content[: rng.randrange(len(content) + 1)]
    return content


def _get(data, path):
    for step in path:
        data = data[step]
    return data


def _put(data, path, value):
    if not path:
        return value
    _get(data, path[:-1])[path[-1]] = value
    return data


def _replace(data, path, shapes, rng):
    return _put(data, path, copy.deepcopy(rng.choice(HOSTILE)))


def _redraw(data, path, shapes, rng):
    return _put(data, path, shapes.draw(path, rng))


def _amount(data, path, shapes, rng):
    return _put(data, path, f"{rng.choice(AMOUNTS)} {rng.choice(UNITS)}")


def _remove(data, path, shapes, rng):
    if path:
        del _get(data, path[:-1])[path[-1]]
    return data


def _rename(data, path, shapes, rng):
    if path and isinstance(path[-1], str):
        above = _get(data, path[:-1])
        above[path[-1][:-1] + rng.choice("xs_ ")] = above.pop(path[-1])
    return data


def _add(data, path, shapes, rng):
    value = _get(data, path)
    if isinstance(value, list):
        value.append(shapes.draw((*path, 0), rng))
    if isinstance(value, dict):
        key = rng.choice([*shapes.keys(path), "unknown"])
        value[key] = shapes.draw((*path, key), rng)
    return data


def _wrap(data, path, shapes, rng):
    value = _get(data, path)
    return _put(data, path, rng.choice(([value], {"kind": value}, [value, value])))


def _swap(data, path, shapes, rng):
    other = rng.choice(places(data))
    value = copy.deepcopy(_get(data, other))
    return _put(data, path, value)


def _scale(data, path, shapes, rng):
    value = _get(data, path)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return data
    return _put(data, path, value * rng.choice((-1, 0, 1000, 10**6, 10**9, 1e-9)))


OPERATIONS = (
    *(_replace, _replace, _redraw, _redraw, _redraw, _amount, _remove, _rename),
    *(_add, _add, _add, _wrap, _swap, _scale),
)
