"""A run or a study as one page to read: everything in one file, nothing to load."""

from __future__ import annotations

from pathlib import Path

from netsim.core.files import require_own, write_atomically
from netsim.report.libraries import drawing_script, require_drawing
from netsim.report.page import Page

__all__ = ["write_report"]

FILE_NAME = "report.html"
MARK = b"netsim report</title>"  # of a page that this package wrote


def write_report(
    folder: str | Path,
    path: str | Path | None = None,
    *,
    pictures: str | Path | None = None,
) -> Path:
    """Write the report of the run or the study in a folder, and return where it is:
    ``report.html`` in that folder, unless ``path`` says otherwise. ``pictures`` is a
    folder for its charts as SVG."""
    require_drawing()
    source = Path(folder)
    target = source / FILE_NAME if path is None else Path(path)
    require_own(target, MARK)
    page = _page(source)
    from netsim.report.html import rendered

    text = rendered(page, drawing_script())
    target.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(target, text.encode())
    if pictures is not None:
        from netsim.report.pictures import write_pictures

        write_pictures(page, Path(pictures))
    return target


def _page(folder: Path) -> Page:
    """Return the page of whatever a folder holds."""
    from netsim.study.frames import TABLE, load_study

    if (folder / TABLE).is_file():
        from netsim.report.study_page import study_page

        return study_page(load_study(folder))
    from netsim.report.run_page import run_page
    from netsim.runs.run import load_run

    return run_page(load_run(folder))
