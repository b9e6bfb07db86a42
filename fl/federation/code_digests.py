"""The code that results of a federation depend on: a digest for each kind of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from fl.memory.code import code_digest
from fl.settings.federation import FederationSettings

# Of each kind: the modules that compute it, and the settings whose classes they use.
# What else decides a result is in its recipe as a value: a client's samples, what a
# merge lets travel. A version's name holds the names of all that led to it.
KINDS: Final[Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]]] = {
    "base": (
        ("fl.federation.warm_start", "fl.model.lora_model", "fl.model.shared_base"),
        ("task", "backbone", "lora"),
    ),
    "job": (
        ("fl.federation.cohort_runner",),
        (
            *("task", "backbone", "lora", "training", "local_training"),
            *("payload", "compression"),
        ),
    ),
    "merge": (
        ("fl.federation.merger",),
        ("aggregation", "server_optimiser", "local_training", "payload"),
    ),
    "evaluation": (
        ("fl.federation.local_metrics",),
        ("task", "backbone", "lora", "evaluation"),
    ),
    "export": (
        ("fl.model.export", "fl.peft_folders.base_delta"),
        ("task", "backbone", "lora"),
    ),
}


@dataclass(frozen=True, slots=True)
class Code:
    """The SHA-256 of the code behind each kind of result."""

    base: str
    job: str
    merge: str
    evaluation: str
    export: str

    @classmethod
    def of(cls, learning: FederationSettings) -> Code:
        """Return the digests of the code that these settings choose."""
        return cls(
            **{
                kind: code_digest(roots, [getattr(learning, name) for name in parts])
                for kind, (roots, parts) in KINDS.items()
            }
        )
