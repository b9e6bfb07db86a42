"""Folders made by somebody else who means harm: studies, models, runs; adapters are in
``hostile_adapters``.

``python -m tests.torture.hostile --cases 120 --out DIR``. In a copy one file becomes
another thing, or content of the right form that lies, with every checksum made again.
A reader ends with one message or works, within its time and memory, and changes
nothing outside.
"""

import argparse
import json
import os
import shutil
import struct
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import yaml

from netsim.study import frames
from tests.torture import hostile_adapters
from tests.torture.judging import limit_memory
from tests.torture.learned import import_all, judged_apart, new_cache
from tests.torture.mutation import as_yaml, mutated, scrambled
from tests.torture.operations import LEARNING, STUDY
from tests.torture.shapes import Shapes, seeded
from tests.torture.table import Table

COLUMNS = ("of", "attack", "cases", "read", "refused", "faults")
ATTACKS = ("pipe", "endless", "folder", "link outside", "bytes", "lie", "lie", "lie")
REPORT_BYTES = 3 * 2**30  # what draws its pictures asks for more than it uses
OUTSIDE = b"a file of the user's own"
SHAPES = Shapes({})
TEXTS = ("<script>alert(1)</script>", "=1+1", "\u202e\x00", "a" * 10_000, "../../x", "")


@dataclass(frozen=True)
class Victim:
    """A folder as its maker left it, and the commands that read it."""

    what: str
    folder: Path
    readers: tuple[tuple[str, ...], ...]
    codes: tuple[int, ...] = (0, 1, 2)


def victims(place):
    """Make one folder of each sort; FOLDER and FREE in a reader's words are the copy
    and a path that does not exist."""
    import_all()
    cache = new_cache(place / "cache")
    (place / "study.yaml").write_text(STUDY)
    study = ("study", str(place / "study.yaml"), "--quiet", "--out")
    run = ("run", *LEARNING, "--quiet", "--out")
    for words in ((*study, place / "study"), (*run, place / "run")):
        verdict = judged_apart(cache, *words)
        assert verdict.code == 0, verdict.said
    write_model(place / "model")
    backbone = "learning.backbone={kind: pretrained, path: FOLDER}"
    learns = (*LEARNING, "--set", f"learning.task={TASK}", "--set", backbone)
    page = ("--out", "FREE")
    return [
        Victim(
            "study",
            place / "study",
            (
                ("report", "FOLDER", *page),
                ("compare", "FOLDER", str(place / "study")),
                (*study, "FOLDER"),
            ),
        ),
        Victim(
            "model",
            place / "model",
            (("check", *learns), ("run", *learns, "--quiet", *page)),
            (0, 2),
        ),
        Victim(
            "run",
            place / "run",
            (
                ("verify", "FOLDER"),
                ("compare", "FOLDER", str(place / "run")),
                ("report", "FOLDER", *page),
                ("timeline", "FOLDER", *page),
                ("merge-study", "FOLDER", *page),
                (*run, "FOLDER", "--resume"),
            ),
        ),
    ]


TASK = "{kind: synthetic, num_samples: 60, num_test: 20, num_public: 60}"


def write_model(folder):
    """Write a small BERT and its tokenizer as transformers would."""
    import torch
    from transformers import BertConfig, BertModel

    from fl.backbones import FromConfig
    from fl.tasks import Synthetic

    task = Synthetic(**yaml.safe_load(TASK))
    tiny = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    tiny |= {"intermediate_size": 24}
    asked = FromConfig(model_type="bert", config=tiny, vocab_size=400)
    words = asked.tokenizer(task).loaded
    torch.manual_seed(0)
    BertModel(BertConfig(vocab_size=len(words), **tiny)).save_pretrained(folder)
    words.save_pretrained(folder)


def attacked(path, attack, outside, rng):
    """Put something else in the place of a file."""
    content = path.read_bytes()
    if attack == "lie":
        lie(path, content, rng)
        return
    path.unlink()
    if attack == "pipe":
        os.mkfifo(path)
    elif attack == "endless":
        path.symlink_to("/dev/zero")
    elif attack == "folder":
        path.mkdir()
    elif attack == "link outside":
        path.symlink_to(outside)
    else:
        path.write_bytes(
            rng.choice((b"", rng.randbytes(500), b"[" * 9_000, content * 2))
        )


def lie(path, content, rng):
    """Write content of the file's own form that is not what it should be."""
    if path.suffix == ".json":
        found = mutated(json.loads(content), SHAPES, rng)
        path.write_text(json.dumps(found))
    elif path.suffix == ".yaml":
        path.write_bytes(as_yaml(mutated(yaml.safe_load(content), SHAPES, rng)))
    elif path.suffix == ".safetensors":
        path.write_bytes(lying_tensors(content, rng))
    elif path.suffix == ".parquet":
        frames.write_frame(lying_frame(pd.read_parquet(path), rng), path)
    else:
        path.write_bytes(scrambled(content, rng))


def lying_tensors(content, rng):
    """Return weights whose header says something else than what follows."""
    size = struct.unpack("<Q", content[:8])[0]
    header, rest = json.loads(content[8 : 8 + size]), content[8 + size :]
    if rng.random() < 0.3:
        return struct.pack("<Q", rng.choice((0, 2**40, 2**63))) + content[8:]
    text = json.dumps(mutated(header, SHAPES, rng)).encode()
    return struct.pack("<Q", len(text)) + text + rest


def lying_frame(frame, rng):
    """Return a table with other columns, types, rows or values."""
    column = rng.choice(list(frame.columns))
    how = rng.choice(("drop", "rename", "value", "text", "null", "none", "double"))
    if how == "drop":
        return frame.drop(columns=column)
    if how == "rename":
        return frame.rename(columns={column: rng.choice(TEXTS)})
    if how == "value":
        return frame.assign(
            **{column: rng.choice((-1, 2**63 - 1, 1e308, float("nan")))}
        )
    if how == "text":
        return frame.assign(**{column: rng.choice(TEXTS)})
    if how == "null":
        return frame.assign(**{column: None})
    return frame.iloc[:0] if how == "none" else pd.concat([frame, frame])


def answers(victim, number, seed, place):
    """Attack one copy; return the attack, the file, and each reader's answer."""
    rng = seeded(seed, victim.what, number)
    copy, outside = place / "copy", place / "outside"
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(victim.folder, copy)
    outside.write_bytes(OUTSIDE)
    path = rng.choice(sorted(one for one in copy.rglob("*") if one.is_file()))
    attack = rng.choice(ATTACKS)
    attacked(path, attack, outside, rng)
    found = []
    for words in victim.readers:
        free = place / "free"
        shutil.rmtree(free, ignore_errors=True)
        free.unlink(missing_ok=True) if free.is_file() else None
        said = [
            one.replace("FOLDER", str(copy)).replace("FREE", str(free)) for one in words
        ]
        verdict = judged_apart(place / "cache", *said, allowed=victim.codes)
        fault = verdict.fault
        if outside.read_bytes() != OUTSIDE:
            fault = fault or "it changed a file outside"
            outside.write_bytes(OUTSIDE)
        found.append((words[0], verdict.code, fault))
    return attack, path.relative_to(copy).as_posix(), found


def torment(victim, cases, seed, place, seen, tell):
    """Attack copies one by one; ``seen`` gets the attack and the counts of each, and
    ``tell`` each fault."""
    counts = {}
    for number in range(cases):
        attack, name, found = answers(victim, number, seed, place)
        row = counts.setdefault(attack, Counter())
        row["cases"] += len(found)
        for reader, code, fault in found:
            row["faults" if fault else "refused" if code else "read"] += 1
            if fault:
                what = f"{victim.what} {number}, {attack} {name}"
                tell(f"{what}, {reader}: {fault}")
        seen({"of": victim.what, "attack": attack, **row})


def main():
    """Write ``hostile.csv`` and what was wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=120)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", nargs="+")
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    table = Table(given.out / "hostile.csv", COLUMNS, num_keys=2)
    place = given.out / "work"
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir()
    found = victims(place)
    limit_memory(REPORT_BYTES)
    with (given.out / "faults.txt").open("w", buffering=1) as log:

        def tell(fault):
            print(fault, file=log)

        if not given.only or "adapter" in given.only:
            hostile_adapters.torment(place / "adapters", table.put, tell)
        for victim in found:
            if given.only and victim.what not in given.only:
                continue
            share = given.cases // len(found)
            torment(victim, share, given.seed, place, table.put, tell)
            print(victim.what, flush=True)


if __name__ == "__main__":
    main()
