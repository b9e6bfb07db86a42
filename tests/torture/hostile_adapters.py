"""Adapters made by somebody else who means harm, and all that reads adapters.

Each attack changes a copy of an adapter that a run made. Every reader works or refuses
in one message, runs nothing of the copy's, hangs on nothing, and changes no other file.
"""

import json
import os
import pickle
import shutil
import struct
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

from netsim.runs.manifest import FILE_NAME as MANIFEST
from tests.torture.learned import judged_apart, new_cache
from tests.torture.operations import LEARNING

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
BASE, DELTA, CARD = "base/config.json", "base_delta.safetensors", "README.md"
HANGS = "([a-z.]+)+!"
CODE = "import pathlib; pathlib.Path({marker!r}).touch()\n"
ODD_NAMES = ("../../x", "\n", "a" * 100_000, "\u202e", "", "base_model", "x\x00y")
ALPHAS = (float("inf"), float("nan"), 10**400, "1e400", True, [], -1, None)
RANKS = (2**63, -1, 0, "8", None, True, 1e308, [8], {})
NOT_CONFIGS = (
    b"",
    b"[]",
    b"null",
    b"[" * 90_000,
    b'{"r": ' + b"9" * 100_000 + b"}",
    b"\xff\xfe{\x00}\x00",
    b"\xef\xbb\xbf{}",
    b"\x80\x04pickle",
)
PATTERNS = ([1], {HANGS: 8}, {"(": 8}, {"q_proj": "x"}, {"q_proj": 1e400})
NAMES = (HANGS, "(", 7, [HANGS], {})
OPTIONS = {
    "rank_pattern": PATTERNS,
    "alpha_pattern": PATTERNS,
    "loftq_config": ("x", {"loftq_bits": 8}),
    "target_modules": NAMES,
    "exclude_modules": NAMES,
    "layers_pattern": NAMES,
    "base_model_name_or_path": ("../../outside", "/dev/zero", "evil/model", "", [7]),
    "revision": ("../../outside", 7),
    "task_type": ("__class__", "SEQ_CLS", {}),
}
TYPES = ("I8", "BOOL", "U64", "F8_E4M3", "F4", "C64", "X", "F64")


def attacks(marker):
    """Return what is done to an adapter, by name within its family; ``marker`` is made
    by what runs."""
    return {
        "settings": _of_settings(),
        "weights": _of_weights(),
        "pipes, links, folders": _of_paths(),
        "code": _of_code(CODE.format(marker=str(marker))),
        "base, delta, card": _of_companions(),
    }


def _of_settings():
    return {
        **{f"config {n}": _bytes(CONFIG, one) for n, one in enumerate(NOT_CONFIGS)},
        **{f"alpha {one!s:.9}": _config(lora_alpha=one) for one in ALPHAS},
        **{f"rank {one!s:.9}": _config(r=one) for one in RANKS},
        **{
            f"{key} {number}": _config(**{key: value})
            for key, values in OPTIONS.items()
            for number, value in enumerate(values)
        },
    }


def _of_weights():
    return {
        **{f"numbers {one}": _header(_typed(one)) for one in TYPES},
        **{f"name {one[:9]!r}": _header(_renamed(one)) for one in ODD_NAMES},
        "cut short": lambda f: _cut(f / WEIGHTS, -100),
        "cut in the header": lambda f: _cut(f / WEIGHTS, 300),
        "a pickle by another name": _bytes(WEIGHTS, pickle.dumps({"a": 1})),
        "a pickle alone": _pickled,
        "a header of exabytes": _bytes(WEIGHTS, struct.pack("<Q", 2**62) + b"{}"),
        "a header of 99 MB": _padded,
        "10,000 tensors": _header(_many),
        "tensors that overlap": _header(_overlapping),
        "factors without a size": _tensors(lambda one: one.reshape(-1)[:1].squeeze()),
        "factors of three sides": _tensors(lambda one: one[None]),
        "numbers that are not finite": _tensors(lambda one: one * np.inf),
        "half the factors": _header(_halved),
    }


def _of_paths():
    files = (CONFIG, WEIGHTS, BASE, "base/model.safetensors", DELTA, CARD)
    links = ("/dev/zero", "nowhere", ".")
    return {
        **{f"pipe {name}": _piped(name) for name in (*files, "tokenizer.json")},
        **{
            f"{name} is a link to {target}": _linked(name, target)
            for target in links
            for name in (CONFIG, WEIGHTS, "base", CARD, DELTA)
        },
        **{f"{name} is a folder": _folder(name) for name in files},
    }


def _of_code(code):
    return {
        "by megatron": _coded("evil_adapter.py", code, CONFIG, _MEGATRON),
        "by auto mapping": _coded("evil_adapter.py", code, CONFIG, _MAPPED),
        "by the base": _coded("base/evil_adapter.py", code, BASE, _AUTO_MAP),
        "by the tokenizer": _coded(
            "evil_adapter.py", code, "tokenizer_config.json", _TOKENIZER
        ),
        "a kernel of the hub": _setting(BASE, _attn_implementation="evil/kernel"),
    }


def _of_companions():
    return {
        "a base of no class": _setting(BASE, architectures=["os.system"]),
        "a base without labels": _setting(BASE, id2label=7, label2id=[]),
        "a base of exabytes": _setting(BASE, hidden_size=2**40),
        "a base of another model": _setting(BASE, model_type="evil", vocab_size=-1),
        "a delta of a pickle": _bytes(DELTA, pickle.dumps({"a": 1})),
        "a delta without a rule": _delta({}),
        "a delta of another rule": _delta({"kind": "base-delta 1", "rule": "evil"}),
        "a delta of half a pair": _delta({"kind": "base-delta 1", "rule": "add"}),
        "a card of escapes": _bytes(CARD, b"\x1b]0;evil\x07\xff" * 1000),
        "a tokenizer of brackets": _bytes("tokenizer.json", b"[" * 90_000),
    }


_MEGATRON = {"megatron_config": {"x": 1}, "megatron_core": "evil_adapter"}
_MAPPED = {
    "auto_mapping": {"base_model_class": "evil", "parent_library": "evil_adapter"}
}
_AUTO_MAP = {
    "auto_map": dict.fromkeys(
        ("AutoConfig", "AutoModel", "AutoModelForImageClassification"),
        "evil_adapter.Evil",
    ),
    "model_type": "evil",
}
_TOKENIZER = {
    "auto_map": {"AutoTokenizer": ["evil_adapter.Evil", None]},
    "tokenizer_class": "Evil",
}


def _bytes(name, content):
    return lambda folder: (folder / name).write_bytes(content)


def _setting(name, **changes):
    def change(folder):
        path = folder / name
        before = json.loads(path.read_text()) if path.exists() else {}
        path.write_text(json.dumps({**before, **changes}))

    return change


def _config(**changes):
    return _setting(CONFIG, **changes)


def _coded(module, code, name, settings):
    def change(folder):
        (folder / module).write_text(code)
        _setting(name, **settings)(folder)

    return change


def _header(changed):
    """Change the header of the weights, and leave the numbers as they are."""

    def change(folder):
        path = folder / WEIGHTS
        content = path.read_bytes()
        size = struct.unpack("<Q", content[:8])[0]
        header = changed(json.loads(content[8 : 8 + size]))
        text = json.dumps(header).encode()
        path.write_bytes(struct.pack("<Q", len(text)) + text + content[8 + size :])

    return change


def _typed(dtype):
    def change(header):
        return {
            n: one if n == "__metadata__" else {**one, "dtype": dtype}
            for n, one in header.items()
        }

    return change


def _renamed(name):
    def change(header):
        first = next(one for one in header if "lora_A" in one)
        return {(name if n == first else n): one for n, one in header.items()}

    return change


def _many(header):
    none = {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}
    return {**{f"base_model.model.x{n}": none for n in range(10_000)}, **header}


def _overlapping(header):
    first = next(one for n, one in header.items() if "lora_A" in n)
    return {n: {**first} if "lora_A" in n else one for n, one in header.items()}


def _halved(header):
    return {n: one for n, one in header.items() if "lora_B" not in n}


def _tensors(changed):
    def change(folder):
        found = load_file(folder / WEIGHTS)
        with_errors = {n: changed(one).copy() for n, one in found.items()}
        save_file(with_errors, folder / WEIGHTS, metadata={"format": "pt"})

    return change


def _padded(folder):
    content = (folder / WEIGHTS).read_bytes()
    size = struct.unpack("<Q", content[:8])[0]
    long = 99 * 10**6
    with (folder / WEIGHTS).open("wb") as file:
        file.write(struct.pack("<Q", long) + content[8 : 8 + size])
        file.write(b" " * (long - size) + content[8 + size :])


def _cut(path, where):
    path.write_bytes(path.read_bytes()[:where])


def _pickled(folder):
    (folder / WEIGHTS).unlink()
    (folder / "adapter_model.bin").write_bytes(pickle.dumps({"a": 1}))


def _delta(metadata):
    def change(folder):
        found = load_file(folder / WEIGHTS)
        module, factor = next((n, one) for n, one in found.items() if "lora_B" in n)
        name = module.removeprefix("base_model.model.").removesuffix(".lora_B.weight")
        save_file({f"{name}.fold_B": factor}, folder / DELTA, metadata=metadata)

    return change


def _gone(path):
    shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)


def _piped(name):
    def change(folder):
        _gone(folder / name)
        os.mkfifo(folder / name)

    return change


def _linked(name, target):
    def change(folder):
        _gone(folder / name)
        (folder / name).symlink_to(target)

    return change


def _folder(name):
    def change(folder):
        _gone(folder / name)
        (folder / name).mkdir()

    return change


@dataclass(frozen=True)
class Adapters:
    """A sound adapter, a copy to attack, and a run that started from the copy."""

    place: Path
    sound: Path
    copy: Path
    started: Path
    cache: Path

    def readers(self):
        """Return the commands that read the copy; those of a start read three files."""
        sound, copy = str(self.sound), str(self.copy)
        out = ("--quiet", "--out", str(self.place / "free"))
        learns = (*LEARNING, "--set", f"learning.start={copy}")
        merges = (
            ("merge", sound, copy, *out),
            ("merge", copy, sound, "--with-model", "float32", *out),
            ("merge", sound, "--previous", copy, "--weights", "0.5", *out),
        )
        if all(map(self.is_left, (CONFIG, WEIGHTS, DELTA))):
            return merges
        return (
            *merges,
            ("check", *learns),
            ("run", *learns, *out),
            ("merge-study", str(self.started), "--methods", "fedit", *out),
        )

    def is_left(self, name):
        """Return whether the attack has not changed a file of the copy."""
        return _state(self.sound / name) == _state(self.copy / name)

    def answers(self, attack, marker):
        """Attack the copy; yield each reader, its exit code and what is wrong."""
        _gone(self.copy)
        shutil.copytree(self.sound, self.copy)
        attack(self.copy)
        before = self.files()
        for words in self.readers():
            _gone(self.place / "free")
            verdict = judged_apart(self.cache, *words)
            fault = verdict.fault or self.wrong(verdict, before, marker)
            yield words[0], verdict.code, fault

    def wrong(self, verdict, before, marker):
        """Return what is wrong after a command that ended as it may."""
        if marker.exists():
            marker.unlink()
            return "it ran code"
        if self.files() != before:
            return "it changed a file"
        lines = [one for one in verdict.said.splitlines() if one[:1].strip()]
        if verdict.code and len(lines) != 1:
            return f"{len(lines)} lines: {verdict.said}"
        free = self.place / "free"  # a run that failed says so in its folder
        left = [*self.place.glob(".*"), *([] if (free / MANIFEST).exists() else [free])]
        if verdict.code and any(map(os.path.lexists, left)):
            return f"left over: {left}"
        return ""

    def files(self):
        """Return the state of all files that no reader may change."""
        folders = (self.sound, self.copy, self.started)
        paths = [path for folder in folders for path in sorted(folder.rglob("*"))]
        return {path: _state(path) for path in paths}


def _state(path):
    if not os.path.lexists(path):
        return None
    status = path.lstat()
    return status.st_mode, status.st_size, status.st_mtime_ns


def sound_adapters(place):
    """Make a sound adapter, and a run that started from its copy."""
    cache = new_cache(place / "cache")
    found = Adapters(place, place / "sound", place / "copy", place / "started", cache)
    run = ("run", *LEARNING, "--quiet", "--out")
    start = ("--set", f"learning.start={found.copy}")
    _made(cache, *run, place / "run")
    shutil.copytree(place / "run" / "adapter", found.sound)
    shutil.copytree(found.sound, found.copy)
    _made(cache, *run, found.started, *start)
    return found


def _made(cache, *words):
    verdict = judged_apart(cache, *words)
    assert verdict.code == 0, verdict.said


def torment(place, seen, tell):
    """Make every attack; ``seen`` gets the counts of each and ``tell`` each fault."""
    place.mkdir(parents=True)
    marker = place / "ran"
    adapters = sound_adapters(place)
    for family, members in attacks(marker).items():
        row = Counter()
        for name, attack in members.items():
            for reader, code, fault in adapters.answers(attack, marker):
                row["cases"] += 1
                row["faults" if fault else "refused" if code else "read"] += 1
                if fault:
                    tell(f"adapter, {family}, {name}, {reader}: {fault}")
            seen({"of": "adapter", "attack": family, **row})
