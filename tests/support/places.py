"""Where the repository is, and the data that lie next to it."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT.parent / "shared" / "data"
PACKAGES = ("netsim", "fl")


def modules(*packages):
    """Return the Python files of folders of the repository, sorted."""
    return sorted(p for name in packages for p in (ROOT / name).rglob("*.py"))
