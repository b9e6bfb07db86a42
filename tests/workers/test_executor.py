"""Work spread over processes: the same results, deaths survived, no process left."""

import os
import subprocess
import sys

import pytest

from fl.workers.executor import Inline, WorkerDied
from fl.workers.processes import processes
from tests.support.work import die, die_for_want_of, plus, refuse_three, say_who


def is_alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.fixture(params=["inline", "processes"])
def executor(request):
    made = {"inline": Inline, "processes": lambda s: processes(2, s)}[request.param](10)
    yield made
    made.close()


def test_results_come_in_the_items_order(executor):
    for _ in range(2):
        assert list(executor.map(plus, range(5))) == [10, 11, 12, 13, 14]
    assert list(executor.map(plus, [])) == []


def test_the_first_error_in_the_items_order_is_raised(executor):
    found = executor.map(refuse_three, [1, 3, 4, 2])
    assert next(found) == 1
    with pytest.raises(ValueError, match="3 is too much"):
        next(found)
    assert list(executor.map(plus, [1])) == [11]


def test_outcomes_come_as_they_are_done_errors_among_them(executor):
    found = dict(executor.completed(refuse_three, [1, 3, 2]))
    assert [found[index].value for index in range(3)] == [1, None, 2]
    assert isinstance(found[1].error, ValueError)
    with pytest.raises(ValueError, match="3 is too much"):
        _ = found[1].result


def test_a_dead_workers_work_is_done_once_more(tmp_path):
    executor = processes(2, tmp_path / "seen")
    assert list(executor.map(die_for_want_of, range(4))) == [0, 1, 2, 3]
    executor.close()


def test_work_that_kills_twice_is_given_up():
    executor = processes(2, None)
    with pytest.raises(WorkerDied, match="exit code 9"):
        list(executor.map(die, range(3)))
    executor.close()


def test_workers_stay_until_they_are_closed_also_in_the_midst_of_work():
    executor = processes(2, None)
    first = set(executor.map(say_who, range(6)))
    assert len(first) == 2
    assert os.getpid() not in first
    assert set(executor.map(say_who, range(6))) == first
    under_way = executor.map(say_who, range(6))
    next(under_way)
    executor.close()
    assert not any(map(is_alive, first))


FIRST_WORKER = """
import os
from fl.workers.processes import processes
from tests.support.work import is_interrupt_held, say_module, say_variable
executor = processes(2, None, preload=["cgitb"])
print(*executor.map(is_interrupt_held, [0, 1]))
print(*executor.map(say_module, ["cgitb", "pdb"]))
os.environ["OF_THE_RUN"] = "new"
other = processes(1, None, preload=["pdb"])
print(*other.map(say_variable, ["OF_THE_RUN"]))
other.close()
executor.close()
"""


def test_the_first_workers_know_no_interrupt_and_all_what_is_imported_beforehand():
    """Later ones know the environment of their own start."""
    found = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", FIRST_WORKER],
        capture_output=True,
        text=True,
        check=True,
    )
    assert found.stdout.splitlines() == ["True True", "True False", "new"]
