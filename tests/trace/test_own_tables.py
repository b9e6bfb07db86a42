"""Tables that a user's own class writes, read, counted in digests and audited."""

from collections import namedtuple
from typing import ClassVar, NamedTuple

import pytest

from netsim import load_run
from netsim.core.files import file_sha256
from netsim.cosim.reading import read_scenario
from netsim.cosim.replay import first_difference
from netsim.cosim.run import run_scenario
from netsim.cosim.shipped import find_scenario
from netsim.errors import InputError
from netsim.policy.full import FullParticipation
from netsim.runs.manifest import read_manifest
from netsim.trace.own_tables import OwnTables
from netsim.verify import verify


class Lot(NamedTuple):
    """A client's lot in a round."""

    round_id: int
    client_id: int
    lot: float
    why: str
    rank: int | None = None


class Draws(FullParticipation):
    kind: ClassVar[str] = "draws"
    scale: float = 1.0

    def draw(self, data_weights, rng, round_id, record):
        for client_id in range(len(data_weights)):
            record("lots", Lot(round_id, client_id, self.scale * rng.random(), "all"))
        return super().draw(data_weights, rng)


def played(folder, sampling):
    small = ("population.num_clients=3", "stop.rounds=2")
    overrides = (f"server.sampling={sampling}", *small)
    return run_scenario(read_scenario(find_scenario("network-only"), overrides), folder)


def test_a_table_of_ones_own_is_a_part_of_the_run(tmp_path):
    kind = f"{__name__}:Draws"
    plain = played(tmp_path / "plain", "full")
    first = played(tmp_path / "first", kind)
    again = played(tmp_path / "again", kind)
    other = played(tmp_path / "other", f"{{kind: '{kind}', scale: 2}}")
    assert first.digest == again.digest != other.digest
    assert first.digest != plain.digest
    assert {one.network_digest for one in (plain, first, other)} == {
        plain.network_digest
    }
    run = load_run(tmp_path / "first")
    assert run.own_tables == ["lots"]
    assert run.lots["client_id"].tolist() == [0, 1, 2, 0, 1, 2]
    assert set(run.lots["why"]) == {"all"}
    assert run.lots["rank"].isna().all()
    assert verify(tmp_path / "first") == []
    found = first_difference(tmp_path / "first", tmp_path / "other")
    assert found.startswith("lots: row 0, lot:")
    (part,) = (tmp_path / "first" / "trace" / "lots").iterdir()
    part.write_bytes((tmp_path / "other" / "trace" / "lots" / part.name).read_bytes())
    rules = [finding.rule for finding in verify(tmp_path / "first")]
    assert "a file must have the SHA-256 that the manifest lists" in rules
    assert file_sha256(part) in str(verify(tmp_path / "first")[0])
    manifest = read_manifest(tmp_path / "again")
    digests = {**manifest.table_digests, "../lots": ""}
    manifest.model_copy(update={"table_digests": digests}).write(tmp_path / "again")
    with pytest.raises(InputError, match=r"no table can be named '\.\./lots'"):
        load_run(tmp_path / "again").own_tables  # noqa: B018


class Listed(NamedTuple):
    ids: list


class Detailed(NamedTuple):
    detail: int


Bare = namedtuple("Bare", "round_id client_id")


def made(rows):
    own = OwnTables()
    for name, row in rows:
        own.add(name, row)
    return list(own.tables())


def test_a_wrong_value_is_refused_where_it_is_written():
    with pytest.raises(InputError, match="lot must be float, got 'much'"):
        OwnTables().add("lots", Lot(1, 1, "much", ""))


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([("tasks", Lot(1, 1, 0.5, ""))], "cannot be named 'tasks'"),
        ([("../x", Lot(1, 1, 0.5, ""))], "cannot be named '../x'"),
        ([("lists", Listed([1]))], "ids must be bool, int, float"),
        ([("lots", Lot(1, 1, 0.5, "")), ("lots", Listed([1]))], "are Lot, got Listed"),
        ([("lots", Lot(1.5, 1, 0.5, ""))], "'lots': round_id must be int, got 1.5"),
        ([("lots", Lot(1, 1, 0.5, None))], "'lots': why must be str, got None"),
        ([("lots", Lot(1, 1, 1, "", 0.5))], r"rank must be int \| None, got 0.5"),
        ([("lots", Lot(2**70, 1, 0.5, ""))], "'lots': int too big"),
        ([("lots", Lot(1, 1, 0.5, "\ud800"))], "'lots': .*surrogates"),
        ([("lots", (1, 2))], r"typing.NamedTuple with columns, got \(1, 2\)"),
        ([("lots", {"lot": 1})], "typing.NamedTuple with columns"),
        ([("lots", Bare(1, 2))], "typing.NamedTuple with columns"),
        ([("lots", Detailed(1))], "detail must be str, got int"),
        ([(3, Detailed(1))], "cannot be named 3"),
        ([("a" * 300, Detailed(1))], "cannot be named 'aaa"),
    ],
)
def test_a_table_that_cannot_be_is_refused(rows, message):
    with pytest.raises(InputError, match=message):
        made(rows)
