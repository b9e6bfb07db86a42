"""Where tests may take things from: the packages, `tests.support`, and the programs."""

from tests.support.places import ROOT, modules
from tests.support.sources import imported

SHARED = ("tests.support.", "tests.torture.", "tests.benchmarks.")


def test_no_test_module_imports_another():
    files = modules("tests")
    names = {path.stem for path in files if path.name.startswith("test_")}
    wrong = [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in files
        for name in imported(path)
        if name.split(".")[0] in ("tests", *names)
        if not name.startswith(SHARED) or names & set(name.split("."))
    ]
    assert wrong == []
