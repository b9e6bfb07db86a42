"""What a built package holds: an installed netsim must not need the checkout."""

from __future__ import annotations

import configparser
import os
import re
import shutil
import subprocess
import sys

import pytest

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


def test_a_folder_that_holds_the_clone_does_not_hide_the_package(tmp_path):
    """An editable install names a path; an import hook would come after the folder."""
    pytest.importorskip("setuptools", minversion="77")
    clone = tmp_path / "netsim"
    for name in ("netsim", "fl", "scenarios"):
        shutil.copytree(ROOT / name, clone / name)
    for name in ("setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, clone)
    build = "from setuptools import build_meta as b; b.build_editable('wheel')"
    python = (sys.executable, "-W", "ignore")
    env = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    (clone / "wheel").mkdir()
    subprocess.run([*python, "-c", build], cwd=clone, check=True, capture_output=True)
    wheel, site = next((clone / "wheel").glob("*.whl")), tmp_path / "site"
    shutil.unpack_archive(wheel, site, "zip")
    asked = f"import site; site.addsitedir({str(site)!r}); import netsim; netsim.run"
    subprocess.run([*python, "-S", "-c", asked], cwd=tmp_path, env=env, check=True)


def test_every_install_line_works_from_a_clone():
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    extras = config["options.extras_require"]
    pages = [
        path
        for folder in ("netsim", "fl", "results", "scenarios")
        for path in (ROOT / folder).rglob("*")
        if path.suffix in (".md", ".py", ".ipynb")
    ]
    for path in [*pages, ROOT / "README.md", ROOT / "CONTRIBUTING.md"]:
        text = path.read_text(encoding="utf-8")
        for line in re.findall(r"pip install .*", text):
            assert "netsim-fl" not in line, path
        for extra in re.findall(r"-c constraints.txt -e '\.\[(\w+)\]'", text):
            assert extra in extras, path


def test_scripts_that_import_scipy_name_the_extra_that_has_it():
    for path in (ROOT / "results").rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        assert "from scipy" not in text or "-e '.[test]'" in text, path
