"""Exact work and shares of a trace, from its transfers, segments and bands."""

BIT = 10**24  # of uHz x 10^-9 bit/s/Hz x ns


def _pieces(tables):
    """Yield (transfer, segment, band) for each interval in which all are constant."""
    segments = tables.by("segments", "transfer_id")
    bands = {}
    for row in tables.bands:
        bands.setdefault((row["cell_id"], row["direction"]), []).append(row)
    for transfer in tables.transfers:
        own = bands.get((transfer["cell_id"], transfer["direction"]), [])
        for segment in segments.get(transfer["transfer_id"], []):
            for band in own:
                start = max(segment["start_ns"], band["start_ns"])
                end = min(segment["end_ns"], band["end_ns"])
                if start < end:
                    yield transfer, segment, band, start, end


def _share(segment, band):
    if segment["pinned_uhz"] is not None:
        return segment["pinned_uhz"]
    return segment["weight"] * band["unit_share_uhz"]


def exact_work(tables, scenario):
    """A message that went through has its bits at its last tick and not one earlier."""
    work, covered, last = {}, {}, {}
    for transfer, segment, band, start, end in _pieces(tables):
        key = transfer["transfer_id"]
        rate = _share(segment, band) * segment["spectral_efficiency_nbit_s_hz"]
        work[key] = work.get(key, 0) + rate * (end - start)
        covered[key] = covered.get(key, 0) + end - start
        last[key] = max(last.get(key, (0, 0)), (end, rate))
    for row in tables.transfers:
        key, need = row["transfer_id"], row["bits"] * BIT
        if covered.get(key, 0) != row["end_ns"] - row["start_ns"]:
            yield f"transfer {key}: segments and bands do not tile it"
        done, rate = work.get(key, 0), last.get(key, (0, 0))[1]
        if row["status"] in ("done", "failed") and done < need:
            yield f"transfer {key}: {row['status']} before its last bit"
        if rate and done - rate >= need:
            yield f"transfer {key}: goes on after its last bit"


def full_bands(tables, scenario):
    """Live transfers are counted, and their shares add up to what is allocated."""
    sums, live = {}, {}
    for _, segment, band, start, end in _pieces(tables):
        key = band["cell_id"], band["direction"], band["start_ns"]
        lasts = end - start
        sums[key] = sums.get(key, 0) + _share(segment, band) * lasts
        live[key] = live.get(key, 0) + lasts
    for band in tables.bands:
        key = band["cell_id"], band["direction"], band["start_ns"]
        lasts, name = band["end_ns"] - band["start_ns"], "{} {} at {}".format(*key)
        if live.get(key, 0) != band["num_live"] * lasts:
            yield f"band {name}: {band['num_live']} live, {live.get(key, 0) / lasts}"
        if sums.get(key, 0) != band["allocated_uhz"] * lasts:
            yield f"band {name}: shares do not add up"
        if band["allocated_uhz"] > band["band_hz"] * 10**6:
            yield f"band {name}: more than the band"
