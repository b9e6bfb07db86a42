"""What an edit between two runs learns again, in steps, and what is said of it.

Each case edits one file between two runs of the same scenario, in a cache of its own:
two rounds of ``quickstart``, one local step each, with a merge, a task and a sharing
rule of a user; or with a chat model in a folder and a data file of 20 MB.
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
SHORT = ("stop.rounds=2", "learning.training.local_steps=1")
OWN = (
    *SHORT,
    "learning.aggregation=merge:Mine",
    "learning.task=task:Odd",
    "cell.uplink.sharing=rule:Plain",
)
RANDOM = "__import__('random').uniform(0.4, 0.5)"
CASES = {  # file, what is replaced, by what, further words
    "nothing": ("merge.py", "", "", ()),
    "a comment in the merge": ("merge.py", "\nclass", "\n# said otherwise\nclass", ()),
    "the merge's helper": ("factors.py", "0.5", "0.25", ()),
    "the sharing rule": ("rule.py", "weight=2", "weight=3", ()),
    "the task": ("task.py", "{**super", "{**{}, **super", ()),
    "the merge draws without a seed": ("factors.py", "0.5", RANDOM, ()),
    "nothing, --fresh": ("merge.py", "", "", ("--fresh",)),
}
STUDY = """
name: traps
scenario: quickstart
overrides: [{overrides}]
seeds: {seeds}
baseline: {{merge: own}}
axes:
  - name: merge
    variants: [{{name: own}}]
"""
TEMPLATE = (
    "{% for one in messages %}{{ one['role'] }}: {{ one['content'] }}{% endfor %}"
)
CHAT = (
    *SHORT,
    "learning.task={kind: instruct, chat: true, "
    "train: {at}/rows.jsonl, test: {at}/rows.jsonl}",
    "learning.backbone={kind: pretrained, path: {at}/model}",
    "learning.lora={r: 2, target_modules: [q_proj, v_proj], modules_to_save: []}",
    "learning.partition=iid",
)
LARGE_BYTES = 20_000_000


def netsim(folder, *words):
    """Return the exit code and the two outputs of a command."""
    command = [sys.executable, "-m", "netsim", *words]
    environment = {**os.environ, "XDG_CACHE_HOME": str(folder / "cache")}
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True
    )
    return done.returncode, done.stdout, done.stderr


def run(folder, settings, *more):
    """Return the summary of one run."""
    words = [word for one in settings for word in ("--set", one)]
    code, out, err = netsim(
        folder, "run", "quickstart", "--quiet", "--json", *words, *more
    )
    assert code == 0, err
    return json.loads(out.splitlines()[-1])


def write(folder, files):
    for name, text in files.items():
        (folder / name).write_text(text)


def row(case, found, before=None):
    """Print what a second run came to."""
    same = "" if before is None else "equal"
    if before is not None and found["digest"] != before["digest"]:
        same = "other"
    steps = f"{found['steps_trained']} | {found['steps_reused']}"
    print(f"| {case} | {steps} | {same} |", flush=True)


def of_code(folder):
    """Edit the classes of a user between runs."""
    write(folder, FILES)
    before = run(folder, OWN)
    row("(the first run)", before)
    for case, (name, old, new, more) in CASES.items():
        write(folder, FILES)
        if old:
            assert old in FILES[name], case
            (folder / name).write_text(FILES[name].replace(old, new, 1))
        row(case, run(folder, OWN, *more), before)


def of_data(folder):
    """Edit a model's chat template and a large file between runs."""
    write_model(folder / "model")
    rows = folder / "rows.jsonl"
    rows.write_text("".join(lines()))
    chat = [one.replace("{at}", str(folder)) for one in CHAT]
    before = run(folder, chat)
    row("(the first run of a chat model)", before)
    row("nothing", run(folder, chat), before)
    (folder / "model" / "chat_template.jinja").write_text(f"{TEMPLATE} ")
    row("the chat template", run(folder, chat), before)
    (folder / "model" / "chat_template.jinja").write_text(TEMPLATE)
    row("the chat template, back again", run(folder, chat), before)
    state = rows.stat()
    with open(rows, "r+b") as file:
        file.seek(rows.read_bytes().index(b"is 0?"))
        file.write(b"is 9?")
    os.utime(rows, ns=(state.st_atime_ns, state.st_mtime_ns))
    assert rows.stat()[6:9:2] == state[6:9:2]  # size and time
    row("a file of 20 MB, of equal size and time", run(folder, chat), before)


def lines():
    """Yield lines of JSON: sums, and a column that fills the file."""
    filler = "x" * (LARGE_BYTES // 240)
    for number in range(240):
        sample = {"question": f"What is {number}?", "answer": f"#### {number}"}
        yield json.dumps({**sample, "filler": filler}) + "\n"


def write_model(folder):
    """Write a small Llama with a tokenizer and a chat template."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {one: index for index, one in enumerate(["<end>", *letters])}
    words = Tokenizer(models.BPE(vocabulary, []))
    words.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    words.decoder = decoders.ByteLevel()
    PreTrainedTokenizerFast(
        tokenizer_object=words, eos_token="<end>", pad_token="<end>"
    ).save_pretrained(folder)
    (folder / "chat_template.jinja").write_text(TEMPLATE)
    sizes = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 1}
    heads = {"num_attention_heads": 2, "num_key_value_heads": 1}
    config = LlamaConfig(
        vocab_size=len(vocabulary), max_position_embeddings=512, **sizes, **heads
    )
    LlamaForCausalLM(config).save_pretrained(folder)


def said(folder):
    """Print what a study and a replay say of other code, and of one without a seed."""
    write(folder, FILES)
    overrides = ", ".join(f"'{one}'" for one in OWN)
    study = folder / "study.yaml"
    words = ("study", "study.yaml", "--out", "study", "--quiet")
    for seeds in ("[1]", "[1, 2]"):
        study.write_text(STUDY.format(overrides=overrides, seeds=seeds))
        code, _, err = netsim(folder, *words)
        (folder / "rule.py").write_text(RULE.replace("weight=2", "weight=3"))
    print(f"\nA rule edited between the seeds of a study, exit code {code}:\n\n{err}")
    (folder / "factors.py").write_text(f"FACTOR = {RANDOM}\n")
    run(folder, OWN, "--out", "drawn")
    code, out, err = netsim(folder, "replay", "drawn", "--fresh")
    print(f"A merge that draws without a seed, exit code {code}:\n\n{out}{err}")


def main():
    print("| edited between two runs | steps trained | reused | digest |")
    print("|---|---|---|---|")
    with tempfile.TemporaryDirectory() as scratch:
        for number, cases in enumerate((of_code, of_data, said)):
            folder = Path(scratch) / str(number)
            folder.mkdir()
            cases(folder)


if __name__ == "__main__":
    main()
