"""The report of one run."""

from __future__ import annotations

from netsim.report import run_facts
from netsim.report.page import Page
from netsim.report.run_bands import band_section
from netsim.report.run_clients import fairness_section
from netsim.report.run_gantt import gantt_section
from netsim.report.run_learning import accuracy_section, merge_section
from netsim.report.run_map import map_section
from netsim.report.run_time import time_section
from netsim.runs.run import Run

SECTIONS = (
    accuracy_section,
    time_section,
    gantt_section,
    band_section,
    merge_section,
    fairness_section,
    map_section,
)


def run_page(run: Run) -> Page:
    """Return the report of a run, with the sections for which it has something."""
    found = [section(run) for section in SECTIONS]
    manifest = run.manifest
    return Page(
        title=manifest.name,
        subtitle=f"one run · seed {manifest.seed} · {manifest.status}",
        headline=run_facts.headline(run),
        facts=run_facts.facts(run),
        sections=[section for section in found if section is not None],
        warnings=run_facts.warnings(run),
        fold={
            "The scenario, with every default": run.scenario_text,
            "Where this comes from": _origin(run),
        },
    )


def _origin(run: Run) -> str:
    manifest = run.manifest
    lines = [
        f"command   {' '.join(manifest.command)}",
        f"started   {manifest.started_at}",
        f"ended     {manifest.ended_at or 'not'}",
        f"digest    {manifest.digest or 'none yet'}",
        f"network   {manifest.network_digest or 'none yet'}",
        f"machine   {manifest.machine}",
        *(f"{name:9} {version}" for name, version in manifest.versions.items()),
    ]
    return "\n".join(lines)
