"""The dependencies: nothing broken, nothing more than the base install needs, and the
ends of every range in ``setup.cfg`` tried once.

``python -m tests.torture.supply --out DIR [--ends]``; ``--ends`` makes two environments
and runs the tests that need no learning in each. torch, and what is built against it,
stays as installed: its other builds are gigabytes.
"""

import argparse
import configparser
import csv
import os
import re
import subprocess
import sys
import sysconfig
from importlib import metadata
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
AS_INSTALLED = {"torch", "transformers", "peft", "tokenizers", "safetensors"}
AS_INSTALLED |= {"huggingface_hub"}
# scipy is not among them: transformers takes it where it is there
NEVER_NEEDED = ("pytest", "hypothesis", "altair", "vl_convert", "ray", "mypy")
SHORT_TESTS = ("tests/test_quantities.py", "tests/test_trace.py", "tests/test_runs.py")
SHORT_TESTS += ("tests/test_band.py", "tests/test_scenario_loading.py")
COLUMNS = ("what", "result")
_RANGE = re.compile(r"^([A-Za-z0-9_-]+)\s*>=\s*([0-9.]+)")


def ranges():
    """Return the lower end of every range of the base install, by package."""
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    lines = config["options"]["install_requires"].splitlines()
    found = (_RANGE.match(line.strip()) for line in lines)
    return {match[1]: match[2] for match in found if match}


def too_old():
    """Return the installed packages that are below their range."""

    def parts(version):
        return [int(n) for n in re.findall(r"\d+", version)[:3]]

    return [
        f"{name} {metadata.version(name)}"
        for name, lowest in ranges().items()
        if parts(metadata.version(name)) < parts(lowest)
    ]


def broken():
    """Return what ``pip check`` says of this environment; nothing if it is sound."""
    done = _run([sys.executable, "-m", "pip", "check"])
    return "" if done.returncode == 0 else (done.stdout + done.stderr).strip()


OF_AN_EXTRA = ("netsim.report", "netsim.cli.reporting")  # reached by that command


def pulled_in():
    """Return what the base install imports of tests, reports and clusters."""
    code = (
        "import importlib, pkgutil, sys, netsim, fl\n"
        "for root in (netsim, fl):\n"
        "    for one in pkgutil.walk_packages(root.__path__, root.__name__ + '.'):\n"
        "        if not one.name.endswith('__main__') and not any(\n"
        f"            one.name.startswith(extra) for extra in {OF_AN_EXTRA!r}):\n"
        "            importlib.import_module(one.name)\n"
        f"print(*sorted(set(sys.modules) & set({NEVER_NEEDED!r})))"
    )
    done = _run([sys.executable, "-c", code])
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def tried(end, folder):
    """Make an environment with one end of every range, and return how it fared."""
    place = folder / f"venv-{end}"
    _must([sys.executable, "-m", "venv", str(place)])
    python = str(place / "bin" / "python")
    _look_here_too(place)
    pins = [
        f"{name}=={lowest}" if end == "lower" else f"{name}"
        for name, lowest in ranges().items()
        if name not in AS_INSTALLED
    ]
    upgrade = ["--upgrade"] if end == "upper" else []
    done = _run([python, "-m", "pip", "install", "-q", *upgrade, *pins])
    if done.returncode:
        return f"cannot be installed: {done.stderr.strip().splitlines()[-1]}"
    known = _run([python, "-m", "pip", "freeze", "--local"]).stdout.split()
    tests = _run([python, "-m", "pytest", "-q", "-x", *SHORT_TESTS], cwd=ROOT)
    verdict = tests.stdout.strip().splitlines()[-1] if tests.stdout else tests.stderr
    return f"{verdict} ({', '.join(known)})"


def _look_here_too(place):
    """Let an environment find, after its own packages, those of this one."""
    (own,) = place.glob("lib/python*/site-packages")
    (own / "zz-here.pth").write_text(sysconfig.get_paths()["purelib"] + "\n")


def _run(words, cwd=None):
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(words, capture_output=True, text=True, cwd=cwd, env=env)


def _must(words):
    done = _run(words)
    assert done.returncode == 0, done.stderr


def main():
    """Write ``supply.csv``."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--ends", action="store_true")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    rows = {
        "pip check": broken() or "clean",
        "below their range": ", ".join(too_old()) or "none",
        "pulled in by the base install": ", ".join(pulled_in()) or "none",
        "torch and what is built against it": ", ".join(
            f"{name} {metadata.version(name)}" for name in sorted(AS_INSTALLED)
        ),
    }
    if given.ends:
        rows |= {f"{end} ends": tried(end, given.out) for end in ("lower", "upper")}
    with (given.out / "supply.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerows([COLUMNS, *rows.items()])
    for what, result in rows.items():
        print(f"{what}: {result}")


if __name__ == "__main__":
    main()
