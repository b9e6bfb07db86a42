"""What is learned again after an edit of a user's own code, in steps.

Each case edits one file between two runs of the same scenario, in a cache of its own:
two rounds of ``quickstart``, one local step each.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

MERGE = """
from dataclasses import replace
from typing import ClassVar
from fl.aggregation import FedIT
from factors import FACTOR

class Mine(FedIT):
    kind: ClassVar[str] = "mine"
    def merge(self, layers):
        merged = super().merge(layers)
        return {
            n: replace(m, pair=m.pair._replace(lora_b=m.pair.lora_b * FACTOR))
            for n, m in merged.items()
        }
"""
TASK = """
from typing import ClassVar
from fl.tasks import Digits

class Odd(Digits):
    kind: ClassVar[str] = "odd"
    def batch(self, split, indices):
        return {**super().batch(split, indices)}
"""
RULE = """
from typing import ClassVar
from netsim.band.transfer import Terms
from netsim.sharing import AtEvents

class Plain(AtEvents):
    kind: ClassVar[str] = "plain"
    def divide(self, started, live, band):
        return [(one, Terms(weight=2)) for one in started]
"""
FILES = {
    "merge.py": MERGE,
    "factors.py": "FACTOR = 0.5\n",
    "task.py": TASK,
    "rule.py": RULE,
}
WORDS = (
    "run",
    "quickstart",
    "--quiet",
    "--json",
    *(
        word
        for setting in (
            "stop.rounds=2",
            "learning.training.local_steps=1",
            "learning.aggregation=merge:Mine",
            "learning.task=task:Odd",
            "cell.uplink.sharing=rule:Plain",
        )
        for word in ("--set", setting)
    ),
)
CASES = {  # file, what is replaced, by what, further words
    "nothing": ("merge.py", "", "", ()),
    "a comment in the merge": ("merge.py", "\nclass", "\n# said otherwise\nclass", ()),
    "the merge's helper": ("factors.py", "0.5", "0.25", ()),
    "the sharing rule": ("rule.py", "weight=2", "weight=3", ()),
    "the task": ("task.py", "{**super", "{**{}, **super", ()),
    "the merge draws without a seed": (
        "factors.py",
        "0.5",
        "__import__('random').uniform(0.4, 0.5)",
        (),
    ),
    "nothing, --fresh": ("merge.py", "", "", ("--fresh",)),
}


def run(folder, *more):
    """Return the summary of one run."""
    command = [sys.executable, "-m", "netsim", *WORDS, *more]
    environment = {**os.environ, "XDG_CACHE_HOME": str(folder / "cache")}
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=True
    )
    return json.loads(done.stdout.splitlines()[-1])


def write(folder, files):
    for name, text in files.items():
        (folder / name).write_text(text)


def main():
    print("| edited between two runs | steps trained | reused | digest |")
    print("|---|---|---|---|")
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        write(folder, FILES)
        before = run(folder)
        print(f"| the first run | {before['steps_trained']} | 0 | |")
        for case, (name, old, new, more) in CASES.items():
            write(folder, FILES)
            if old:
                assert old in FILES[name], case
                (folder / name).write_text(FILES[name].replace(old, new, 1))
            found = run(folder, *more)
            same = "equal" if found["digest"] == before["digest"] else "other"
            steps = f"{found['steps_trained']} | {found['steps_reused']}"
            print(f"| {case} | {steps} | {same} |", flush=True)


if __name__ == "__main__":
    main()
