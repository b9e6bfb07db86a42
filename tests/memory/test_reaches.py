"""What modules depend on is found once per state of the project."""

import pytest

from fl.memory.reaches import Reaches, state_of


@pytest.fixture
def own(tmp_path):
    """Return a package of one module, and what is known of it in a fresh process."""
    package = tmp_path / "own"
    package.mkdir()
    module = package / "module.py"
    module.write_text("A = 1\n")
    packages = (str(package),)
    return module, lambda: Reaches(tmp_path, packages, state_of(packages))


def never():
    raise AssertionError("it is known")


def test_a_listing_is_kept_until_a_file_is_edited_or_added(own):
    module, fresh = own
    listings = {"own/module.py": "1"}, {"own/module.py": "2"}, {}
    edits = (
        lambda: module.write_text("A = 2\n"),
        lambda: module.with_name("module").mkdir(),
        lambda: (module.with_name("module") / "__init__.py").touch(),
    )
    known = fresh()
    assert known.of("own.module", lambda: listings[0]) == listings[0]
    known.keep()
    assert fresh().of("own.module", never) == listings[0]
    edits[0]()
    known = fresh()
    assert known.of("own.module", lambda: listings[1]) == listings[1]
    known.keep()
    edits[1]()  # no module
    assert fresh().of("own.module", never) == listings[1]
    edits[2]()
    assert fresh().of("own.module", lambda: listings[2]) == listings[2]
    (module.with_name("module") / "__init__.py").unlink()
    module.write_text("A = 1\n")
    assert fresh().of("own.module", never) == listings[0]


def test_what_was_found_during_an_edit_is_not_kept(own):
    module, fresh = own
    known = fresh()
    known.of("own.module", lambda: {"own/module.py": "of which text?"})
    module.write_text("A = 2\n")
    known.keep()
    module.write_text("A = 1\n")
    assert fresh().of("own.module", dict) == {}


def test_a_damaged_file_is_found_anew(own, tmp_path):
    _, fresh = own
    known = fresh()
    known.of("own.module", lambda: {"own/module.py": "1"})
    known.keep()
    (path,) = tmp_path.glob("reaches-*.json")
    path.write_bytes(path.read_bytes()[:-1] + b" ")
    assert fresh().of("own.module", dict) == {}
