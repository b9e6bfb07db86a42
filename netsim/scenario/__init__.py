"""Scenarios: records, strict YAML reading, resolved YAML writing."""

from netsim.scenario.loader import (
    as_yaml,
    dump,
    json_schema,
    load,
    load_text,
    scenario_digest,
)
from netsim.scenario.permission import UserCode
from netsim.scenario.record import NotLoaded, OneOf, Opaque, Record, is_loaded, refusal

__all__ = [
    "NotLoaded",
    "OneOf",
    "Opaque",
    "Record",
    "UserCode",
    "as_yaml",
    "dump",
    "is_loaded",
    "json_schema",
    "load",
    "load_text",
    "refusal",
    "scenario_digest",
]
