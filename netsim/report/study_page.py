"""The report of a study: which combination is faster, at what cost, how certainly."""

from __future__ import annotations

import pandas as pd

from netsim.report import words
from netsim.report.page import Column, Fact, Page, Section, Table
from netsim.report.study_costs import bytes_chart, energy_chart
from netsim.report.study_curves import curve_charts
from netsim.report.study_data import STUDY_FILE, StudyData
from netsim.report.study_speed import speedup_chart, time_chart
from netsim.study.frames import Study
from netsim.study.outcomes import THE_END
from netsim.study.summary import evidence, sentence
from netsim.study.what_if import answers


def study_page(study: Study) -> Page:
    """Return the report of a study, finished or not."""
    data = StudyData.of(study)
    sections = [
        _speed_section(data),
        _curves_section(data),
        _cost_section(data),
        _table_section(data),
    ]
    path = study.folder / STUDY_FILE
    return Page(
        title=data.config.name,
        subtitle=f"a study of {data.config.scenario} · {_size(data)}",
        headline=_headline(data),
        facts=_facts(data),
        sections=[section for section in sections if section is not None],
        warnings=_warnings(data),
        fold={"The study's file": path.read_text(encoding="utf-8")},
    )


def _size(data: StudyData) -> str:
    combined = words.counted(len(data.combinations), "combination")
    return f"{combined} with {words.counted(len(data.config.seeds), 'seed')} each"


def _finished(data: StudyData) -> int:
    """Return how many runs are finished."""
    return len(data.done[["variant", "seed"]].drop_duplicates())


def _warnings(data: StudyData) -> list[str]:
    table = data.study.table
    failed = table[table["status"] == "failed"][["variant", "seed"]].drop_duplicates()
    found = []
    if _finished(data) + len(failed) < data.num_runs:
        found.append(
            f"This study is unfinished: {_finished(data)} of {data.num_runs} runs are "
            "here. `netsim study` goes on with it."
        )
    if len(failed):
        names = ", ".join(
            f"{row.variant} seed {row.seed}" for row in failed.itertuples()
        )
        found.append(f"{words.counted(len(failed), 'run')} failed: {names}.")
    return found


def _headline(data: StudyData) -> list[str]:
    """Return, per target, the combinations with the least mean time."""
    found, summary = [], data.study.summary
    if data.done.empty:
        return ["No run is finished yet."]
    for target, rows in summary.groupby("target", sort=False):
        known = rows[rows["num_reached"] > 0].dropna(subset=["mean_time_s"])
        goal = "the end" if target == THE_END else str(target)
        if known.empty:
            found.append(f"No combination reached {goal}.")
            continue
        first = known[known["mean_time_s"] == known["mean_time_s"].min()]
        num_seeds = int(first["num_seeds"].iloc[0])
        took = words.duration(float(first["mean_time_s"].iloc[0]))
        mean = "one seed" if num_seeds == 1 else f"mean of {num_seeds:,} seeds"
        tie = ", equal" if len(first) > 1 else ""
        names = " and ".join(first["variant"])
        found.append(f"Soonest at {goal}{tie}: {names}, after {took} ({mean}).")
    return found


def _facts(data: StudyData) -> list[Fact]:
    done = data.done
    if done.empty:
        return []
    runs = done.drop_duplicates(["variant", "seed"])
    simulated_s = float(runs["end_ns"].sum()) / 1e9
    targets = done[done["target"] != THE_END]
    reached = int(targets["is_reached"].sum())
    found = [
        Fact(f"{_finished(data)} of {data.num_runs}", "runs finished"),
        Fact(words.duration(simulated_s), "simulated in all"),
    ]
    if len(targets):
        found.append(Fact(f"{reached} of {len(targets)}", "targets reached"))
    if runs["final_accuracy"].notna().any():
        low, high = runs["final_accuracy"].min(), runs["final_accuracy"].max()
        found.append(Fact(f"{low:.3g} to {high:.3g}", "accuracy at the end"))
    return found


def _speed_section(data: StudyData) -> Section | None:
    if data.done.empty:
        return None
    baseline = ", ".join(data.config.baseline.values())
    text = [
        "Each dot is a run with its own seed. A ring is a run that ended before it "
        "reached the target: it would have taken longer than that.",
        f"Speed is compared with {baseline}, seed by seed, all else equal. The bar is "
        "the 95 % interval over five seeds or more, by Student's t where all met the "
        "target, else by bootstrap; where it crosses 1, the seeds do not show which is "
        "faster.",
    ]
    text += [f"{line[0].upper()}{line[1:]}." for line in evidence(data.study.summary)]
    text += answers(data.study)
    charts = [time_chart(data), speedup_chart(data)]
    return Section("Who is faster", text, [*charts, _sentences(data)])


def _sentences(data: StudyData) -> Table:
    summary = data.study.summary
    rows = [
        {"target": target, "text": sentence(row)}
        for target in data.targets
        for _, row in summary[summary["target"] == target].iterrows()
    ]
    columns = [Column("target", "to"), Column("text", "what the runs show")]
    frame = pd.DataFrame(rows, columns=["target", "text"])
    return Table("sentences", "In words", frame, columns, is_wide=True)


def _curves_section(data: StudyData) -> Section | None:
    charts = curve_charts(data)
    if not charts:
        return None
    text = [
        "The line is the mean over seeds, the band reaches from the least to the "
        "greatest. It ends where the first of the seeds ends."
    ]
    return Section("How good, and when", text, charts)


def _cost_section(data: StudyData) -> Section | None:
    if data.done.empty:
        return None
    text = [
        "Better is less time with less energy, and more accuracy from fewer bytes. The "
        "grey line joins those that no other beats in both."
    ]
    charts = [energy_chart(data)]
    spent = bytes_chart(data)
    if spent is not None:
        charts.append(spent)
    return Section("What it costs", text, charts)


OF_A_RUN = (
    Column("seed", "seed"),
    Column("target", "target"),
    Column("reached", "reached"),
    Column("time_s", "seconds", ".2f"),
    Column("rounds", "rounds"),
    Column("sent", "MB sent", ".2f"),
    Column("energy_j", "joules", ".4g"),
    Column("final_accuracy", "accuracy at the end", ".3f"),
    Column("status", "status"),
)


def _table_section(data: StudyData) -> Section:
    table = data.study.table
    shown = table.assign(
        time_s=table["time_ns"].astype("Float64") / 1e9,
        end_s=table["end_ns"].astype("Float64") / 1e9,
        sent=(table["upload_bits"] + table["download_bits"]).astype("Float64") / 8e6,
        reached=table["is_reached"].map({True: "yes", False: "no"}).fillna(""),
    )
    shown = shown.astype({"time_s": "float64", "end_s": "float64", "sent": "float64"})
    columns = [*(Column(axis, axis) for axis in data.axes), *OF_A_RUN]
    text = ["A row per run and target. A click on a heading sorts."]
    note = (
        "Where the target was not reached, seconds, rounds, bytes and joules are those "
        "of the whole run."
    )
    block = Table(
        "study", "All runs", shown, columns, csv=table, note=note, is_wide=True
    )
    return Section("All runs", text, [block])
