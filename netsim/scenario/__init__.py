"""Scenarios: records, strict YAML reading, resolved YAML writing."""

from netsim.scenario.loader import dump, json_schema, load, load_text, scenario_digest
from netsim.scenario.permission import UserCode
from netsim.scenario.record import OneOf, Opaque, Record, is_loaded, refusal

__all__ = [
    "OneOf",
    "Opaque",
    "Record",
    "UserCode",
    "dump",
    "is_loaded",
    "json_schema",
    "load",
    "load_text",
    "refusal",
    "scenario_digest",
]
