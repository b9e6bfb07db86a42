"""Scenarios: records, strict YAML reading, resolved YAML writing."""

from netsim.scenario.loader import (
    as_yaml,
    dump,
    json_schema,
    load,
    load_text,
    scenario_digest,
)
from netsim.scenario.record import OneOf, Record, refusal

__all__ = [
    "OneOf",
    "Record",
    "as_yaml",
    "dump",
    "json_schema",
    "load",
    "load_text",
    "refusal",
    "scenario_digest",
]
