"""Checks: which adapters can be merged with each other, and by which method."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING

from fl.aggregation import Ability, Method, Pair
from fl.memory.files import regular
from fl.peft_folders.base_delta import FILE_NAME
from fl.peft_folders.config import CONFIG_FILE
from fl.peft_folders.folder import PeftFolder

if TYPE_CHECKING:
    from torch import Tensor

SAME_OPTIONS = ("peft_type", "use_dora", "fan_in_fan_out", "bias")


def require_alike(one: PeftFolder, other: PeftFolder) -> None:
    """Raise ``ValueError`` if kind, modules or shapes of two adapters differ."""
    for option in SAME_OPTIONS:
        values = one.config.get(option), other.config.get(option)
        if values[0] != values[1]:
            raise ValueError(
                f"{other.path / CONFIG_FILE}: {option} must be {values[0]!r} as in "
                f"{one.path}, got {values[1]!r}"
            )
    _require_same(
        "adapted module", _widths(one.pairs), _widths(other.pairs), one, other
    )
    _require_same(
        "DoRA magnitude", _shapes(one.magnitudes), _shapes(other.magnitudes), one, other
    )
    _require_same(
        "tensor trained whole", _shapes(one.rest), _shapes(other.rest), one, other
    )


def require_mergeable(
    method: Method, folders: Sequence[PeftFolder], *, has_previous: bool
) -> None:
    """Raise ``ValueError`` with the method's reason if it cannot merge these."""
    contract, kind = method.contract, method.kind
    if contract.personal:
        kept = " and ".join(contract.personal)
        raise ValueError(
            f"{kind} has no one merged model: {kept} stay with each client; "
            "use 'fedit' for the average of all"
        )
    keeps_pair = contract.is_folding and contract.continues_from != "restart"
    if folders[0].kind == "HIRA" and keeps_pair:
        raise ValueError(
            f"{kind} folds into the base and keeps a pair; HiRA multiplies that base, "
            "and PEFT cannot keep the old one for the pair; use 'flora-stacking'"
        )
    needed: list[Ability] = ["independent-sampling"] if has_previous else []
    modules = folders[0].pairs
    if any(len({len(f.pairs[m].lora_a) for f in folders}) > 1 for m in modules):
        needed.append("unequal-ranks")
    refusals = contract.refusals(needed)
    if refusals:
        raise ValueError(f"{kind} cannot merge these, {'; '.join(refusals)}")


def common_base_delta(
    clients: Sequence[PeftFolder], previous: PeftFolder | None
) -> Path | None:
    """Return the folder with the base delta on which all were trained, if any.

    Clients saved by PEFT have none; the previous adapter may have one. All base deltas
    must be equal.
    """
    digests = [_base_delta_digest(folder) for folder in clients]
    before = None if previous is None else _base_delta_digest(previous)
    for folder, digest in zip(clients, digests, strict=True):
        if digest != digests[0] or (
            digest and previous is not None and digest != before
        ):
            other = clients[0] if digest != digests[0] else previous
            assert other is not None
            raise ValueError(
                f"{folder.path} and {other.path} were trained on different bases: "
                f"their {FILE_NAME} are not the same"
            )
    if previous is not None and before:
        return previous.path
    return clients[0].path if digests[0] else None


def _base_delta_digest(folder: PeftFolder) -> bytes:
    """Return the digest of a folder's base delta; empty if there is none."""
    path = regular(folder.path / FILE_NAME)
    return hashlib.sha256(path.read_bytes()).digest() if path.exists() else b""


def _widths(pairs: Mapping[str, Pair]) -> dict[str, tuple[int, ...]]:
    """Return the shape [m, n] of each adapted matrix."""
    return {m: (len(pair.lora_b), pair.lora_a.shape[1]) for m, pair in pairs.items()}


def _shapes(tensors: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in tensors.items()}


def _require_same(
    what: str,
    wanted: Mapping[str, tuple[int, ...]],
    found: Mapping[str, tuple[int, ...]],
    one: PeftFolder,
    other: PeftFolder,
) -> None:
    for name in sorted(set(wanted) ^ set(found)):
        owner, lacking = (one, other) if name in wanted else (other, one)
        near = get_close_matches(name, (wanted, found)[name in wanted], n=1)
        hint = f" (nearest there: {near[0]!r})" if near else ""
        raise ValueError(
            f"{one.path} and {other.path} do not fit together: {what} {name!r} is in "
            f"{owner.path}, not in {lacking.path}{hint}"
        )
    for name, shape in wanted.items():
        if found[name] != shape:
            raise ValueError(
                f"{one.path} and {other.path} do not fit together: {what} {name!r} is "
                f"{shape} in the first, {found[name]} in the second"
            )
