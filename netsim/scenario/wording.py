"""Messages for pydantic's errors: rule, value and nearest valid name."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence, Sized

from pydantic import BaseModel
from pydantic_core import ErrorDetails

from netsim.core.quantities import did_you_mean

_RULES: Mapping[str, str] = {
    "int_type": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "float_parsing": "must be a number",
    "finite_number": "must be a finite number",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "string_type": "must be text",
    "tuple_type": "must be a list",
    "list_type": "must be a list",
    "set_type": "must be a list",
    "frozen_set_type": "must be a list",
    "dict_type": "must be a mapping (key: value)",
    "mapping_type": "must be a mapping (key: value)",
    "model_type": "must be a mapping (key: value)",
    "model_attributes_type": "must be a mapping (key: value)",
    "none_required": "must be null",
    "greater_than": "must be greater than {gt}",
    "greater_than_equal": "must be at least {ge}",
    "less_than": "must be less than {lt}",
    "less_than_equal": "must be at most {le}",
    "multiple_of": "must be a multiple of {multiple_of}",
    "too_short": "must have at least {min_length} items",
    "too_long": "must have at most {max_length} items",
    "string_too_short": "must have at least {min_length} characters",
    "string_too_long": "must have at most {max_length} characters",
    "string_pattern_mismatch": "must match {pattern!r}",
    "invalid_key": "a key must be text",
}


def describe(error: ErrorDetails) -> str:
    """Return one sentence without the path: the rule, then the value."""
    special = _SPECIAL.get(error["type"])
    if special:
        return special(error)
    rule = _RULES.get(error["type"])
    if rule is None:
        return f"{error['msg']}, got {shown(error['input'])}"
    return f"{rule.format(**_plain(error))}, got {shown(error['input'])}"


def is_echo(error: ErrorDetails) -> bool:
    """Return whether an error only follows from another one: a list that is too short
    because its items are wrong, or a default that depends on a wrong value."""
    if error["type"] == "default_factory_not_called":
        return True
    if error["type"] != "too_short" or not isinstance(error["input"], Sized):
        return False
    return len(error["input"]) >= int(error["ctx"]["min_length"])


def unknown_key(key: str, keys: Sequence[str]) -> str:
    """Return the message for an unknown key."""
    listed = f" (keys: {', '.join(keys)})" if keys else ""
    return f"unknown key {key!r}" + (did_you_mean(key, keys) or listed)


def shown(value: object) -> str:
    """Return a value as short text in YAML's terms."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Mapping):
        return "a mapping"
    if isinstance(value, tuple | list):
        return f"a list of {len(value)}"
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _plain(error: ErrorDetails) -> dict[str, object]:
    """Return an error's limits, whole floats as integers."""
    context = error.get("ctx", {})
    return {
        name: int(value) if isinstance(value, float) and value.is_integer() else value
        for name, value in context.items()
    }


def _literal(error: ErrorDetails) -> str:
    choices = re.findall(r"'([^']*)'", error["ctx"]["expected"])
    value = error["input"]
    hint = did_you_mean(value, choices) if isinstance(value, str) else ""
    expected = error["ctx"]["expected"]
    one_of = "one of " if len(choices) > 1 else ""
    return f"must be {one_of}{expected}, got {shown(value)}{hint}"


def _own_words(error: ErrorDetails) -> str:
    """Return a validator's own message, with the value unless it has it already."""
    text = str(error["ctx"]["error"])
    is_whole = isinstance(error["input"], Mapping | BaseModel)
    return text if ", got " in text or is_whole else _with_value(text, error)


def _with_value(text: str, error: ErrorDetails) -> str:
    return f"{text}, got {shown(error['input'])}"


_SPECIAL: Mapping[str, Callable[[ErrorDetails], str]] = {
    "literal_error": _literal,
    "enum": _literal,
    "value_error": _own_words,
    "assertion_error": _own_words,
    "missing": lambda error: f"missing key {str(error['loc'][-1])!r}",
    "stated": lambda error: error["msg"],
    "refused": lambda error: _with_value(error["msg"], error),
}
