import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from netsim.channel import IndoorOffice, RuralMacro, UrbanMacro, UrbanMicro, tr38901
from netsim.channel.tr38901 import at_once
from netsim.errors import InputError

UMA = UrbanMacro(carrier_hz=2e9)
RMA = RuralMacro(carrier_hz=0.7e9)
VILLAGE = RuralMacro(
    carrier_hz=3.5e9,
    base_height_m=50,
    device_height_m=3,
    building_height_m=40,
    street_width_m=10,
)
INH = IndoorOffice(carrier_hz=30e9)
OPEN = IndoorOffice(carrier_hz=30e9, office="open")
UMI = UrbanMicro(carrier_hz=3.5e9)
MODELS = [UMA, RMA, VILLAGE, INH, OPEN, UMI]


@pytest.mark.parametrize(
    ("model", "distance_m", "in_sight_db", "obstructed_db"),
    [  # TR 38.901 Table 7.4.1-1, each equation worked out by hand
        (UMA, 10, 64.979155, 74.554251),  # d3D = 25.54 m
        (UMA, 100, 78.277396, 98.176763),
        (UMA, 319, 89.129851, 117.454669),
        (UMA, 321, 89.213506, 117.560177),
        (UMA, 1000, 108.911673, 136.805285),
        (UMA, 5000, 136.865869, 164.116535),
        (RMA, 10, 60.300964, 60.300964),  # the loss out of sight is that in sight
        (RMA, 100, 70.219015, 78.694397),
        (RMA, 769, 88.825010, 112.044350),
        (RMA, 771, 88.870423, 112.087847),
        (RMA, 5000, 121.331055, 143.439453),
        (VILLAGE, 10, 79.158457, 86.469331),  # both minima are at their limits
        (VILLAGE, 1000, 121.775165, 136.784510),
        (VILLAGE, 4000, 149.433197, 159.737883),
        (INH, 0, 67.150244, 67.150244),  # below the base, 2 m away
        (INH, 10, 79.389763, 92.706508),
        (INH, 50, 91.340612, 119.164167),
        (OPEN, 140, 99.071207, 136.278720),
    ],
)
def test_losses_follow_the_standard(model, distance_m, in_sight_db, obstructed_db):
    assert model.loss_db(distance_m, True) == pytest.approx(in_sight_db, abs=1e-6)
    assert model.loss_db(distance_m, False) == pytest.approx(obstructed_db, abs=1e-6)


def test_a_higher_device_loses_less_in_the_macro_cell():
    high = UrbanMacro(carrier_hz=2e9, device_height_m=11.5)
    slope_db = 39.08 * math.log10(math.hypot(400, 23.5) / math.hypot(400, 13.5))
    lower_db = UMA.loss_db(400, False) - high.loss_db(400, False)
    assert lower_db == pytest.approx(6.0 + slope_db)


def test_breakpoints_and_shadowing():
    assert UMA.breakpoint_m == pytest.approx(320)
    assert RMA.breakpoint_m == pytest.approx(769.6902)
    assert [UMA.shadowing_sigma_db(99, sight) for sight in (True, False)] == [4, 6]
    assert [INH.shadowing_sigma_db(9, sight) for sight in (True, False)] == [3, 8.03]
    assert [RMA.shadowing_sigma_db(d, True) for d in (769, 770)] == [4, 6]
    assert [RMA.shadowing_sigma_db(d, False) for d in (769, 770)] == [8, 8]


@pytest.mark.parametrize(
    ("model", "distance_m", "probability"),
    [  # Table 7.4.2-1
        (UMA, 18, 1),
        (UMA, 50, 0.649402),
        (UMA, 500, 0.036345),
        (RMA, 10, 1),
        (RMA, 500, 0.612626),
        (INH, 1.2, 1),
        (INH, 4, 0.551152),
        (INH, 50, 0.084265),
        (OPEN, 5, 1),
        (OPEN, 20, 0.809074),
        (OPEN, 100, 0.424394),
    ],
)
def test_line_of_sight_probability(model, distance_m, probability):
    found = model.line_of_sight_probability(distance_m)
    assert found == pytest.approx(probability, abs=1e-6)


@given(data=st.data(), model=st.sampled_from(MODELS))
def test_farther_loses_more_and_obstruction_never_less(data, model):
    distances_m = st.floats(*model.valid_range_m)
    low, high = sorted((data.draw(distances_m), data.draw(distances_m)))
    for in_sight in (True, False):
        assert model.loss_db(low, in_sight) <= model.loss_db(high, in_sight) + 1e-9
    assert model.loss_db(low, False) >= model.loss_db(low, True)
    probability = model.line_of_sight_probability
    # the mixed office steps from 0.324 to 0.32 at 6.5 m, never up
    assert 0 < probability(high) <= probability(low) + 1e-12 <= 1 + 1e-12


def sionna_losses_db(name, model, distances_m, in_sight):
    """Return what NVIDIA's Sionna gives for the same topology."""
    theirs_3gpp = pytest.importorskip("sionna.phy.channel.tr38901")
    torch = pytest.importorskip("torch")
    antenna = theirs_3gpp.PanelArray(
        num_rows_per_panel=1,
        num_cols_per_panel=1,
        polarization="single",
        polarization_type="V",
        antenna_pattern="omni",
        carrier_frequency=model.carrier_hz,
    )
    outdoors = {} if name == "RMa" else {"o2i_model": "low"}
    theirs = getattr(theirs_3gpp, name)(
        carrier_frequency=model.carrier_hz,
        ut_array=antenna,
        bs_array=antenna,
        direction="uplink",
        enable_shadow_fading=False,
        **outdoors,
    )
    num = len(distances_m)
    zeros, still = torch.zeros(1, num, 3), torch.zeros(1, 1, 3)
    devices = zeros.clone()
    devices[0, :, 0] = torch.tensor(distances_m)
    devices[0, :, 2] = model.device_height_m
    base = torch.tensor([[[0, 0, model.base_height_m]]])
    inside = torch.zeros(1, num, dtype=torch.bool)
    theirs.set_topology(devices, base, zeros, still, zeros, inside, los=in_sight)
    return theirs._scenario.basic_pathloss.numpy().ravel()


@pytest.mark.parametrize(("name", "model"), [("UMi", UMI), ("UMa", UMA), ("RMa", RMA)])
@pytest.mark.parametrize("in_sight", [True, False])
def test_outdoor_models_agree_with_sionna(name, model, in_sight, monkeypatch):
    distances_m = np.linspace(10, 5000, 500)
    theirs_db = sionna_losses_db(name, model, distances_m, in_sight)
    # They take c = 299792458 m/s for the breakpoint; the standard says 3e8.
    for light_m_per_s, tolerance_db in ((3e8, 2e-2), (299_792_458, 1e-3)):
        monkeypatch.setattr(tr38901, "_LIGHT_M_PER_S", light_m_per_s)
        ours_db = [model.loss_db(float(d), in_sight) for d in distances_m]
        np.testing.assert_allclose(ours_db, theirs_db, rtol=0, atol=tolerance_db)


@pytest.mark.parametrize(
    ("model", "distance_m", "message"),
    [
        (UMA, 9.9, "holds from 10 m to 5000 m"),
        (RMA, 5001, "holds from 10 m to 5000 m"),
        (INH, 150, "holds from 0 m to 149.987 m"),
        (IndoorOffice(carrier_hz=1e9, base_height_m=1), 0.9, "from 1 m to 150 m"),
    ],
)
def test_no_model_answers_beyond_its_range(model, distance_m, message):
    with pytest.raises(InputError, match=message):
        model.loss_db(distance_m, True)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: RuralMacro(carrier_hz=31e9), "less than or equal to 3"),
        (lambda: RuralMacro(carrier_hz=1e9, building_height_m=4), "greater than or"),
        (lambda: RuralMacro(carrier_hz=1e9, device_height_m=11), "less than or equal"),
        (lambda: UrbanMacro(carrier_hz=1e9, device_height_m=14), "less than or equal"),
        (lambda: IndoorOffice(carrier_hz=101e9), "less than or equal"),
        (lambda: IndoorOffice(carrier_hz=1e9, office="closed"), "'mixed' or 'open'"),
    ],
)
def test_what_the_standard_does_not_cover_is_refused(make, message):
    with pytest.raises(ValidationError, match=message):
        make()


@pytest.mark.parametrize("model", [UrbanMicro, UrbanMacro])
@pytest.mark.parametrize("device_height_m", [1.5, 9.0])
def test_many_distances_at_once_have_the_losses_of_each(model, device_height_m):
    model = model(carrier_hz=3.5e9, device_height_m=device_height_m)
    rng = np.random.default_rng(0)
    lengths_m = np.concatenate([rng.uniform(10, 5_000, 2_000), [18.0, 5_000.0]])
    sights = rng.random(len(lengths_m)) < 0.5
    each = list(zip(lengths_m.tolist(), sights.tolist(), strict=True))
    fast = at_once(model)
    found = fast.losses_db(lengths_m, sights)
    assert found.tolist() == [model.loss_db(*one) for one in each]
    found = fast.line_of_sight_probabilities(lengths_m)
    assert found.tolist() == list(map(model.line_of_sight_probability, lengths_m))
    found = fast.shadowing_sigmas_db(sights)
    assert found.tolist() == [model.shadowing_sigma_db(*one) for one in each]


def test_a_class_that_extends_a_model_is_asked_for_each_distance():
    class Own(UrbanMicro):
        def loss_db(self, distance_2d_m, is_line_of_sight):
            return 100.0

    assert at_once(Own(carrier_hz=3.5e9)) is None
