"""Where tests may take things from: the packages, `tests.support`, and the programs."""

import ast
from pathlib import Path

TESTS = Path(__file__).parent
SHARED = ("tests.support", "tests.torture", "tests.benchmarks")
MODULES = {path.stem for path in TESTS.rglob("test_*.py")}


def taken(path):
    """Return what a test module imports of the tests, relative imports among it."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            prefix = "." * node.level + (node.module or "")
            names = [f"{prefix}.{alias.name}" for alias in node.names]
        else:
            continue
        yield from (n for n in names if n.split(".")[0] in ("", "tests", *MODULES))


def test_no_test_module_imports_another():
    wrong = [
        f"{path.relative_to(TESTS)} imports {name}"
        for path in TESTS.rglob("*.py")
        for name in taken(path)
        if not name.startswith(SHARED) or MODULES & set(name.split("."))
    ]
    assert wrong == []
