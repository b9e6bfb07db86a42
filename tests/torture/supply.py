"""The dependencies: consistent, minimal in the base install, and tried at both ends of
every range in ``setup.cfg``.

``python -m tests.torture.supply --out DIR [--ends]``; ``--ends`` makes an environment
with the lowest release of every range, extras included, and one with the newest
compatible releases. In each it makes a run with learning, audits, replays and reports
it, and runs some tests. torch stays as installed, since its other builds are gigabytes.
"""

import argparse
import configparser
import os
import re
import subprocess
import sys
import sysconfig
import tempfile
from importlib import metadata
from pathlib import Path

from tests.torture.table import Table

ROOT = Path(__file__).resolve().parents[2]
TORCH = ("torch", "torchgen", "functorch")
# scipy is not among them: transformers takes it where it is there
NEVER_NEEDED = ("pytest", "hypothesis", "altair", "vl_convert", "ray", "mypy")
EXTRAS = ("report", "tensorboard", "cluster", "tune", "test")
SHORT_TESTS = ("core/quantities", "trace/trace", "trace/runs", "band/band")
SHORT_TESTS += ("scenario/loading", "training/cohort", "peft_folders/peft_folders")
SHORT_TESTS += ("model/checkpoint", "study/tune", "policy/plan")
SHORT_RUN = ("stop={rounds: 2}", "learning.training.local_steps=2")
COLUMNS = ("what", "result")
_RANGE = re.compile(r"^([A-Za-z0-9_-]+)\s*>=\s*([0-9.]+)")


def ranges(extras=()):
    """Return the lower end of every range of the base install, and of some extras, by
    package."""
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    texts = [config["options"]["install_requires"]]
    texts += [config["options.extras_require"][extra] for extra in extras]
    lines = [line.strip() for text in texts for line in text.splitlines()]
    found = (_RANGE.match(line) for line in lines)
    return {match[1]: match[2] for match in found if match}


def too_old():
    """Return the installed packages below their range."""

    def parts(version):
        return [int(n) for n in re.findall(r"\d+", version)[:3]]

    return [
        f"{name} {metadata.version(name)}"
        for name, lowest in ranges().items()
        if parts(metadata.version(name)) < parts(lowest)
    ]


def broken(python=sys.executable):
    """Return the output of ``pip check`` in an environment; empty if it is
    consistent."""
    done = _run([python, "-m", "pip", "check"])
    return "" if done.returncode == 0 else (done.stdout + done.stderr).strip()


OF_AN_EXTRA = (  # reached by that command or kind of learning
    "netsim.report",
    "netsim.cli.reporting",
    "fl.flower",
    "netsim.cosim.flower_learner",
)


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


def tried(end, place):
    """Make an environment with one end of every range; yield each step and its
    result."""
    _must([sys.executable, "-m", "venv", "--clear", str(place)])
    python = str(place / "bin" / "python")
    _lend_torch(place)
    lowest = ranges(EXTRAS)
    pins = [
        f"{name}=={lowest[name]}" if end == "lower" else name
        for name in lowest
        if name != "torch"
    ]
    pins.append(f"torch=={metadata.version('torch').partition('+')[0]}")
    done = _run([python, "-m", "pip", "install", "-q", *pins])
    if done.returncode:
        yield "install", done.stderr.strip().splitlines()[-1]
        return
    yield "versions", ", ".join(_installed(python, [*lowest]))
    yield "pip check", broken(python) or "clean"
    with tempfile.TemporaryDirectory() as folder:
        cache = {"XDG_CACHE_HOME": folder}
        for words in _smoke(Path(folder) / "run"):
            done = _run([python, "-m", "netsim", *words], **cache)
            yield f"netsim {words[0]}", _outcome(done)
        files = [f"tests/{'/test_'.join(name.split('/'))}.py" for name in SHORT_TESTS]
        # what is newer than the lowest typer deprecates what that imports
        words = ["-m", "pytest", "-W", "ignore::DeprecationWarning", *files]
        done = _run([python, *words, "-p", "no:cacheprovider"], **cache)
        yield f"tests of {', '.join(SHORT_TESTS)}", done.stdout.strip().splitlines()[-1]


def _smoke(run):
    """Return the arguments of commands that run, audit, replay and report."""
    sets = [word for setting in SHORT_RUN for word in ("--set", setting)]
    return (
        ("run", "quickstart", *sets, "--quiet", "--out", str(run)),
        ("verify", str(run)),
        ("replay", str(run), "--quiet", "--out", str(run.with_name("again"))),
        ("report", str(run)),
    )


def _outcome(done):
    said = (done.stdout + done.stderr).strip().splitlines()
    return (
        "done" if done.returncode == 0 else f"exit code {done.returncode}: {said[-1]}"
    )


def _installed(python, names):
    code = (
        "import sys; from importlib.metadata import version\n"
        "for name in sys.argv[1:]: print(name, version(name))"
    )
    return _run([python, "-c", code, *names]).stdout.splitlines()


def _lend_torch(place):
    """Make this environment's torch available in another one."""
    here = Path(sysconfig.get_paths()["purelib"])
    (own,) = place.glob("lib/python*/site-packages")
    found = [here / name for name in TORCH] + list(here.glob("torch-*.dist-info"))
    for path in filter(Path.exists, found):
        (own / path.name).symlink_to(path)


def _run(words, **more):
    env = {**os.environ, "PYTHONPATH": str(ROOT), **more}
    return subprocess.run(words, capture_output=True, text=True, cwd=ROOT, env=env)


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
    table = Table(given.out / "supply.csv", COLUMNS)

    def put(what, result):
        table.put({"what": what, "result": result})
        print(f"{what}: {result}", flush=True)

    put("pip check", broken() or "clean")
    put("below their range", ", ".join(too_old()) or "none")
    put("pulled in by the base install", ", ".join(pulled_in()) or "none")
    put("torch, in all", metadata.version("torch"))
    for end in ("lower", "upper") if given.ends else ():
        for what, result in tried(end, given.out / f"venv-{end}"):
            put(f"{end} ends: {what}", result)


if __name__ == "__main__":
    main()
