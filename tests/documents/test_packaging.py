"""What a built package holds: an installed netsim must not need the checkout."""

from __future__ import annotations

import configparser

from tests.support.places import ROOT

PACKAGES = ("netsim", "fl", "scenarios")
SKIPPED = {"__pycache__", ".py", ".pyc"}


def patterns() -> dict[str, list[str]]:
    """Return the data patterns of every package, read as setuptools does: lines, or
    commas where there is one line."""
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    return {
        name: [
            part.strip()
            for part in (value.splitlines() if "\n" in value else value.split(","))
            if part.strip()
        ]
        for name, value in config["options.package_data"].items()
    }


def test_every_folder_with_modules_is_a_package():
    folders = {path.parent for name in PACKAGES for path in (ROOT / name).rglob("*.py")}
    scripts = ROOT / "scenarios" / "traces"  # its make.py writes the traces: no module
    without = {at for at in folders if not (at / "__init__.py").exists()}
    assert without == {scripts}


def test_every_pattern_finds_files():
    for name, listed in patterns().items():
        for pattern in listed:
            folder = ROOT / name.replace(".", "/")
            assert list(folder.glob(pattern)), f"{name}: {pattern}"


def test_every_data_file_is_packed():
    packed = {
        path
        for name, listed in patterns().items()
        for pattern in listed
        for path in (ROOT / name.replace(".", "/")).glob(pattern)
    }
    there = {
        path
        for name in PACKAGES
        for path in (ROOT / name).rglob("*")
        if path.is_file() and not SKIPPED & {path.suffix, *path.parts}
    }
    assert there <= packed
