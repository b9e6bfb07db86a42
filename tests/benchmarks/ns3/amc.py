"""The rates that ns-3's adaptive modulation chooses on 50 resource blocks.

    python amc.py amc.csv

Runs under the Python that has ns3. One row per SNR: CQI, scheme and bits per
millisecond by its formula of Piro et al., by which it schedules uplinks, and by its
error model.
"""

from __future__ import annotations

import csv
import sys
from pathlib import Path

import cppyy
from ns import ns

NUM_BLOCKS = 50
SNRS_DB = [-6.0 + 1.1 * n for n in range(30)]
CODE = """
int CqiAt(double snr, bool isFormula)
{
    using namespace ns3;
    auto amc = CreateObject<LteAmc>();
    amc->SetAttribute("AmcModel", EnumValue(isFormula ? LteAmc::PiroEW2010
                                                      : LteAmc::MiErrorModel));
    SpectrumValue sinr(LteSpectrumValueHelper::GetSpectrumModel(18100, 50));
    sinr = snr;
    return amc->CreateCqiFeedbacks(sinr, 50).at(0);
}
"""


def rows():
    """Yield SNR, then CQI, scheme and bits per millisecond of both models."""
    amc = ns.CreateObject[ns.LteAmc]()
    for snr_db in SNRS_DB:
        row = [round(snr_db, 3)]
        for is_formula in (True, False):
            cqi = cppyy.gbl.CqiAt(10 ** (snr_db / 10), is_formula)
            scheme = int(amc.GetMcsFromCqi(cqi))
            bits = int(amc.GetUlTbSizeFromMcs(scheme, NUM_BLOCKS)) if cqi > 0 else 0
            row += [cqi, scheme, bits]
        yield row


if __name__ == "__main__":
    cppyy.cppdef(CODE)
    with Path(sys.argv[1]).open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        names = ("cqi", "scheme", "bits_per_ms")
        writer.writerow(["snr_db", *names, *(f"error_model_{name}" for name in names)])
        writer.writerows(rows())
