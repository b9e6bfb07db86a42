"""The clocks of results/transfer, against numbers that can be had by hand."""

import sys

import pandas as pd
import pytest

from tests.support.places import ROOT

pytest.importorskip("altair")
PAGE = ROOT / "results" / "transfer"
sys.path.insert(0, str(PAGE))
try:
    import transfer
finally:
    sys.path.remove(str(PAGE))


def seconds(start, clock):
    found = transfer.uploads("", start, clock, transfer.CLOCKS[clock])
    return (found.end_s - found.start_s).round(9).tolist()


def test_clocks_that_know_the_radio_or_the_cell_alone():
    assert seconds("0.2 s apart", "size over the radio's rate") == [0.96] * 10
    assert seconds("0.2 s apart", "size over the cell's rate") == [0.48] * 10
    assert seconds("0.2 s apart", "a tenth of the cell") == [4.8] * 10


def test_together_ten_equal_shares_of_the_cell():
    assert seconds("together", "exact sharing") == [4.8] * 10
    assert seconds("together", "share frozen at the start") == [4.8] * 10


def test_a_frozen_share_is_that_of_who_sends_at_the_start():
    # 1.2 MB at 10 Mbit/s alone and with one other, then at a third, a quarter, a fifth
    # of 20; at 1 s the first has ended and the sixth is one of five
    found = seconds("0.2 s apart", "share frozen at the start")
    hand = [0.96, 0.96, 1.44, 1.92, 2.4, 2.4]
    assert found[:6] == pytest.approx(hand, abs=2e-9)


def test_exact_sharing_fills_the_cell_once_two_are_sending():
    found = transfer.uploads("", "0.2 s apart", "", ())
    *_, last_but_one_s, last_s = found.end_s
    # half of the cell is lost for 0.2 s at the start, and while the last is alone
    assert last_s == pytest.approx(4.8 + 0.1 + (last_s - last_but_one_s) / 2)


def test_frozen_shares_oversell_the_cell_and_are_refused():
    assert "more than the band of 20000000000000 uHz" in transfer.oversold()


def test_the_published_table_is_what_the_script_finds():
    published = pd.read_csv(PAGE / "seconds.csv")
    found = transfer.seconds(transfer.of_constant_cell()).round(4)
    kept = published[published.cell == "20 Mbit/s"].reset_index(drop=True)
    pd.testing.assert_frame_equal(found, kept, check_dtype=False)
