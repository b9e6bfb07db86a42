"use strict";
(() => {
  const store = JSON.parse(document.getElementById("store").textContent);
  const root = document.documentElement;

  // ---- light and dark: the reader's system, unless the button was pressed
  const wantsDark = matchMedia("(prefers-color-scheme: dark)");
  try { const kept = localStorage.getItem("netsim-theme"); if (kept) root.dataset.theme = kept; }
  catch (error) { /* a page without storage forgets it */ }
  document.getElementById("theme").addEventListener("click", () => {
    const isDark = root.dataset.theme ? root.dataset.theme === "dark" : wantsDark.matches;
    root.dataset.theme = isDark ? "light" : "dark";
    try { localStorage.setItem("netsim-theme", root.dataset.theme); } catch (error) { /* as above */ }
  });

  // ---- charts
  const config = (isNarrow) => ({
    background: "transparent",
    font: "system-ui, -apple-system, Segoe UI, Roboto, sans-serif",
    view: { stroke: "transparent" },
    axis: {
      labelColor: "var(--muted)", titleColor: "var(--muted)", domainColor: "var(--line)",
      tickColor: "var(--line)", gridColor: "var(--grid)", labelFontSize: 12,
      titleFontSize: 12, titleFontWeight: "normal", titlePadding: 8, labelLimit: isNarrow ? 110 : 240,
    },
    axisX: { grid: false, labelFlush: true, tickCount: isNarrow ? 4 : 8, labelAngle: 0, labelOverlap: true, labelSeparation: 6 },
    axisXQuantitative: { labelFlush: false },
    legend: {
      labelColor: "var(--muted)", titleColor: "var(--muted)", labelFontSize: 12, titleFontSize: 12,
      titleFontWeight: "normal", gradientLength: isNarrow ? 160 : 220, gradientThickness: 10,
      titleLimit: 300,
    },
    scale: { bandPaddingInner: 0.12, rectBandPaddingInner: 0.06 },
    bar: { discreteBandSize: { band: 0.9 } },
  });

  for (const frame of Object.values(store.frames)) { // texts are stored once each
    for (const [name, column] of Object.entries(frame)) {
      if (column.codes) frame[name] = column.codes.map((code) => (code < 0 ? null : column.words[code]));
    }
  }

  const rows = (frame, wanted) => {
    const names = Object.keys(frame);
    const length = names.length ? frame[names[0]].length : 0;
    const found = [];
    for (let n = 0; n < length; n++) {
      if (wanted.every(([column, value]) => !(column in frame) || String(frame[column][n]) === value)) {
        found.push(Object.fromEntries(names.map((name) => [name, frame[name][n]])));
      }
    }
    return found;
  };

  const draw = async (name) => {
    const { spec, frames, rows: [rowField, rowHeight] } = store.charts[name];
    const figure = document.getElementById("f-" + name);
    const place = document.getElementById("c-" + name);
    const wanted = [...figure.querySelectorAll("select")]
      .filter((select) => select.value !== "")
      .map((select) => [select.dataset.column, select.value]);
    const isNarrow = place.clientWidth < 520;
    const whole = {
      ...spec,
      datasets: Object.fromEntries(frames.map((key) => [key, rows(store.frames[key], wanted)])),
      autosize: { type: "fit-x", contains: "padding", resize: true },
    };
    if (rowField) {
      const seen = new Set(Object.values(whole.datasets).flat().map((row) => row[rowField]));
      seen.delete(undefined);
      whole.height = Math.max(1, seen.size) * rowHeight;
    }
    if (figure.classList.contains("square")) whole.height = Math.max(240, place.clientWidth - 60);
    await vegaEmbed(place, whole, {
      actions: false, renderer: "svg", config: config(isNarrow),
      logLevel: 1, // errors alone: a round in which nothing is lost is no warning
      tooltip: { theme: "page", disableDefaultStyle: true },
    });
  };

  const drawAll = async () => { for (const name of Object.keys(store.charts)) await draw(name); };

  for (const figure of document.querySelectorAll("figure")) {
    const name = figure.id.slice(2);
    for (const select of figure.querySelectorAll("select")) {
      select.addEventListener("change", () => draw(name));
    }
    for (const button of figure.querySelectorAll(".step")) {
      button.addEventListener("click", () => {
        const select = button.parentElement.querySelector("select");
        const next = select.selectedIndex + Number(button.dataset.step);
        if (next >= 0 && next < select.options.length) { select.selectedIndex = next; draw(name); }
      });
    }
  }

  // ---- tables: a click on a heading sorts, a second one the other way round
  const valueOf = (cell) => (cell.dataset.value === undefined ? cell.textContent : Number(cell.dataset.value));
  const compare = (a, b) => (typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b)));
  for (const table of document.querySelectorAll("figure table")) {
    const heads = [...table.querySelectorAll("th")];
    heads.forEach((head, place) => head.firstChild.addEventListener("click", () => {
      const isUp = head.getAttribute("aria-sort") !== "ascending";
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", isUp ? "ascending" : "descending");
      const body = table.tBodies[0];
      const sorted = [...body.rows].sort((one, two) => {
        const [a, b] = [one, two].map((row) => row.cells[place]);
        if (!a.textContent || !b.textContent) return (a.textContent ? 0 : 1) - (b.textContent ? 0 : 1);
        return (isUp ? 1 : -1) * compare(valueOf(a), valueOf(b));
      });
      body.append(...sorted);
    }));
  }
  for (const button of document.querySelectorAll(".save")) {
    button.addEventListener("click", () => {
      const link = document.createElement("a");
      link.href = URL.createObjectURL(new Blob([store.files[button.dataset.csv]], { type: "text/csv" }));
      link.download = button.dataset.csv + ".csv";
      link.click();
      setTimeout(() => URL.revokeObjectURL(link.href), 1000);
    });
  }

  const markCut = () => {
    for (const place of document.querySelectorAll(".scroll")) {
      place.classList.toggle("is-cut", place.scrollWidth > place.clientWidth + 1);
    }
  };
  markCut();
  addEventListener("resize", markCut);

  drawAll().then(
    () => { root.dataset.drawn = "all"; },
    (error) => { root.dataset.drawn = "failed"; throw error; },
  );
})();
