"""This host measured over several settings: the law, its errors, the device file."""

from dataclasses import replace

import numpy as np
import pytest
from typer.testing import CliRunner

from fl.contract import Work
from fl.step_times import UNSEEN, Setting, settings
from netsim.cli.main import app
from netsim.cosim.commands import sweep
from netsim.cosim.commands.calibrate import Request
from netsim.devices.device_file import read_device
from netsim.devices.host_fit import HostLaw, fit_law, judged
from tests.benchmarks.steps import read
from tests.support.places import ROOT

LAW = HostLaw(1e-2, 1e-5, 2e-6, 1e-11, 2e-12, 1e-10, 5e-11, 4e-10)


def works(number):
    drawn = np.random.default_rng(0).integers(1, 1000, size=(number, 7)).tolist()
    return [
        Work(
            flop=(a + b) * 10**7,
            half_flop=b * 10**7,
            product_bytes=c * 10**5,
            other_bytes=d * 10**5,
            operations=e,
            blocks=f * 10,
            large_bytes=g * 10**5,
            steps=1,
        )
        for a, b, c, d, e, f, g in drawn
    ]


def judged_in(some, seconds, precisions=("float32",) * 40, is_unseen=(False,) * 40):
    return judged(some, seconds, precisions=precisions, is_unseen=is_unseen)


def test_half_of_each_precision_is_left_out_and_has_a_rate_of_its_own():
    some = works(40)
    slow = [one.flop / 1e9 if n < 20 else one.flop / 1e10 for n, one in enumerate(some)]
    precisions = ("float32",) * 20 + ("bfloat16",) * 20
    found = judged_in(some, slow, precisions)
    assert sum(n < 20 for n in found.left_out) == 10
    assert found.one_rate_errors == pytest.approx([1.0] * 20)


def test_exact_times_give_their_law_back_and_no_error():
    some = works(40)
    found = judged_in(some, [LAW.seconds(one) for one in some])
    assert found.law == pytest.approx(LAW, rel=1e-6)
    assert len(found.left_out) == 20
    assert found.errors == pytest.approx([1.0] * 20)
    assert found.doubt == pytest.approx(1.0)
    assert max(found.one_rate_errors) > 1.1


def test_a_term_that_would_be_negative_is_left_out():
    some = works(40)
    odd = LAW._replace(step_s=0.0)
    seconds = [odd.seconds(one) - 2e-4 for one in some]
    law = fit_law(some, seconds)
    assert law.step_s == 0
    assert min(law) >= 0


def test_a_family_that_is_unseen_is_judged_and_never_fitted():
    some = works(40)
    seconds = [LAW.seconds(one) for one in some]
    is_unseen = [n < 10 for n in range(40)]
    spoilt = [s * (3 if n < 10 else 1) for n, s in enumerate(seconds)]
    found = judged_in(some, spoilt, is_unseen=is_unseen)
    errors = dict(zip(found.left_out, found.errors, strict=True))
    assert set(range(10)) <= errors.keys()
    assert [errors[n] for n in range(10)] == pytest.approx([3.0] * 10)
    others = [error for n, error in errors.items() if n >= 10]
    assert others == pytest.approx([1.0] * len(others))


@pytest.mark.slow
def test_a_sweep_of_this_host_is_a_device_with_its_doubt(tmp_path, monkeypatch):
    chosen = [Setting("vit", "float32", size, 0) for size in (1, 2, 4)]
    chosen.append(Setting(UNSEEN, "float32", 1, 16))
    monkeypatch.setattr(sweep, "settings", lambda precision: chosen)
    lines = []
    request = Request(out=tmp_path / "host.yaml")
    entry, result = sweep.swept_device(request, "float32", lines.append)
    device = read_device(tmp_path / "host.yaml")
    assert (device.basis, device.doubt) == ("fitted", entry.doubt)
    assert lines[0].startswith("vit, float32, 1 images: ")
    assert len(lines) == 4
    for work in works(5):
        # no product of the sweep gave 16 bits, and no result was large
        full = replace(work, half_flop=0, blocks=0, large_bytes=0)
        assert device.compute_time_s(full) == pytest.approx(result.law.seconds(full))
    (line,) = sweep.error_lines(result)
    assert line.startswith("error       median")


def test_settings_are_of_several_families():
    assert len(settings("float32")) == len(settings("bfloat16")) == 52
    assert len({one.model for one in settings("float32")}) == 7


def test_the_host_of_the_page_errs_as_the_page_says():
    found = read(ROOT / "results" / "validation" / "host.csv")
    result = sweep.judge(found)
    for precision, middle in (("float32", 1.05), ("bfloat16", 1.10)):
        errors = [
            error
            for one, error in zip(result.precisions, result.errors, strict=True)
            if one == precision
        ]
        assert len(errors) >= 24
        assert np.median(errors) < middle
        assert max(errors) < 1.25
    first, second = sweep.error_lines(result)
    assert "29 settings in float32" in first
    assert "29 settings in bfloat16" in second


def test_an_unknown_precision_is_refused(tmp_path):
    wrong = ["calibrate", "--sweep", "bfloat", "--out", str(tmp_path / "x.yaml")]
    result = CliRunner().invoke(app, wrong)
    assert "did you mean 'bfloat16'" in str(result.exception)
