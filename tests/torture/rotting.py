"""Bit rot: one file of a copied folder is damaged in one of several ways."""

import shutil

DAMAGES = ("flip", "truncate", "swap", "remove", "empty", "overwrite", "append")


def damaged_copy(sound, place, damage, rng):
    """Copy an intact folder, damage one file and return which; None if the file is
    unchanged."""
    shutil.rmtree(place, ignore_errors=True)
    shutil.copytree(sound.folder, place)
    files = sorted(path for path in place.rglob("*") if path.is_file())
    # the root of all, if there is one, as often as all else together
    is_root = sound.root is not None and rng.random() < 0.3
    path = place / sound.root if is_root else rng.choice(files)
    path_content = path.read_bytes()
    twin = sound.other / path.relative_to(place)
    others = [rng.choice(files), *([twin] if twin.exists() else [])]
    if damage == "remove":
        path.unlink()
    elif damage == "swap":
        path.write_bytes(rng.choice(others).read_bytes())
    else:
        path.write_bytes(_rotten(path_content, damage, rng))
    is_changed = not path.exists() or path.read_bytes() != path_content
    return path.relative_to(place).as_posix() if is_changed else None


def _rotten(content, damage, rng):
    """Return a file's bytes, damaged in one way."""
    if damage == "empty" or not content:
        return b""
    if damage == "truncate":
        return content[: rng.randrange(len(content))]
    if damage == "append":
        return content + rng.randbytes(rng.choice((1, 8, 500)))
    place = rng.randrange(len(content))
    if damage == "flip":
        flipped = content[place] ^ (1 << rng.randrange(8))
        return content[:place] + bytes([flipped]) + content[place + 1 :]
    zeros = bytes(rng.choice((1, 16, 512)))
    return (content[:place] + zeros + content[place + len(zeros) :])[: len(content)]


def answered(verdict):
    """Return whether a reader worked or reported damage, and the fault, if any."""
    if verdict.fault:
        return "fault", verdict.fault
    return ("worked" if verdict.code == 0 else "said so"), ""
