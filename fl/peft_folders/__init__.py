"""Merging of adapter folders that ``peft`` saved."""

from __future__ import annotations

from fl.peft_folders.base_delta import apply_base_delta, write_base_delta
from fl.peft_folders.merge import LayerReport, MergeReport, merge_folders

__all__ = [
    "LayerReport",
    "MergeReport",
    "apply_base_delta",
    "merge_folders",
    "write_base_delta",
]
