"""Reports in a real browser: all is drawn, nothing is fetched, nothing is cut off."""

import json
import shutil
import time

import pytest

import netsim as package
from netsim.report import write_report
from tests.support import tiny_run

pytest.importorskip("altair")
pytest.importorskip("vl_convert")
webdriver = pytest.importorskip("selenium.webdriver")
CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not (CHROMIUM and DRIVER), reason="no chromium"),
]

FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--hide-scrollbars",
]
PHONE, DESKTOP = 390, 1280
STUDY = """\
name: tiny
scenario: network-only
overrides: [stop.rounds=3, population.num_clients=6]
axes:
  - name: policy
    variants:
      - {name: coin}
      - {name: everybody in every round, overrides: [server.sampling=full]}
  - {name: band, path: cell.uplink.band, values: [1 MHz, 2 MHz]}
seeds: [1, 2]
baseline: {policy: coin}
"""

# texts of a chart that lie outside of their card, and labels of an axis that overlap
MISPLACED = """
const found = [];
for (const figure of document.querySelectorAll('figure')) {
  const card = figure.getBoundingClientRect();
  for (const text of figure.querySelectorAll('svg text')) {
    const box = text.getBoundingClientRect();
    if (!text.textContent || !box.width) continue;
    if (getComputedStyle(text).opacity === '0') continue;
    if (text.closest('[opacity="0"]')) continue;
    if (box.left < card.left - 1 || box.right > card.right + 1
        || box.bottom > card.bottom + 1 || box.top < card.top - 1) {
      found.push(figure.id + ' cut: ' + text.textContent);
    }
  }
  for (const group of figure.querySelectorAll('.role-axis-label')) {
    const boxes = [...group.querySelectorAll('text')]
      .filter((text) => text.getAttribute('opacity') !== '0')
      .map((text) => [text.textContent, text.getBoundingClientRect()]);
    for (let n = 1; n < boxes.length; n++) {
      const [[one, a], [other, b]] = [boxes[n - 1], boxes[n]];
      if (a.left < b.right - 1 && b.left < a.right - 1
          && a.top < b.bottom - 1 && b.top < a.bottom - 1) {
        found.push(figure.id + ' overlap: ' + one + ' and ' + other);
      }
    }
  }
}
return found;
"""


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in FLAGS:
        options.add_argument(flag)
    options.add_argument(f"--user-data-dir={tmp_path_factory.mktemp('chromium')}")
    options.set_capability(
        "goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"}
    )
    service = webdriver.ChromeService(DRIVER)
    driver = webdriver.Chrome(options=options, service=service)
    yield driver
    driver.quit()


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """Return the report of a run with learning, of a longer one, and of a study."""
    folder = tmp_path_factory.mktemp("pages")
    tiny_run.write_run(folder / "tiny")
    package.run("network-only", "stop.rounds=60", out=folder / "long")
    (folder / "tiny.yaml").write_text(STUDY)
    package.run_study(folder / "tiny.yaml", out=folder / "study")
    return {name: write_report(folder / name) for name in ("tiny", "long", "study")}


def opened(browser, path, width=DESKTOP, theme="light"):
    """Open a page and wait until it has drawn; return what it logged and asked for."""
    feature = {"name": "prefers-color-scheme", "value": theme}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})
    size = {"width": width, "height": 900, "deviceScaleFactor": 1}
    size["mobile"] = width == PHONE
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    browser.get("about:blank")
    for log in ("browser", "performance"):
        browser.get_log(log)
    browser.get(f"file://{path}")
    ended = time.monotonic() + 60
    while not (drawn := browser.execute_script(DRAWN)) and time.monotonic() < ended:
        time.sleep(0.05)
    assert drawn == "all"
    return browser.get_log("browser"), set(_requests(browser))


DRAWN = "return document.documentElement.dataset.drawn"


def _requests(browser):
    for entry in browser.get_log("performance"):
        message = json.loads(entry["message"])["message"]
        if message["method"] == "Network.requestWillBeSent":
            yield message["params"]["request"]["url"]


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [PHONE, DESKTOP])
@pytest.mark.parametrize("name", ["tiny", "long", "study"])
def test_all_is_drawn_and_nothing_is_fetched_or_cut(browser, pages, name, width, theme):
    logged, urls = opened(browser, pages[name], width, theme)
    assert logged == []
    assert [url for url in urls if not url.startswith("data:")] == [
        f"file://{pages[name]}"
    ]
    wide = browser.execute_script("return document.documentElement.scrollWidth")
    assert wide <= width
    empty = """return [...document.querySelectorAll('.plot')].filter((place) => {
      const marks = place.querySelectorAll('.mark-rect path, .mark-line path, '
        + '.mark-symbol path, .mark-area path, .mark-rule line');
      return !place.querySelector('svg') || !marks.length;
    }).map((place) => place.id)"""
    assert browser.execute_script(empty) == []
    assert browser.execute_script(MISPLACED) == []


def background(browser):
    return browser.execute_script("return getComputedStyle(document.body).background")


def test_the_theme_is_the_systems_until_the_button_is_pressed(browser, pages):
    opened(browser, pages["tiny"], theme="dark")
    dark = background(browser)
    opened(browser, pages["tiny"], theme="light")
    light = background(browser)
    assert light != dark
    browser.execute_script("document.getElementById('theme').click()")
    assert background(browser) == dark
    browser.execute_script("document.getElementById('theme').click()")
    assert background(browser) == light
    browser.execute_script("localStorage.clear()")


def whole_text(browser, figure):
    script = (
        f"return document.getElementById('{figure}').querySelector('svg').innerHTML"
    )
    return browser.execute_script(script)


def test_the_chooser_shows_another_round(browser, pages):
    opened(browser, pages["long"])
    first = whole_text(browser, "f-gantt")
    browser.execute_script(
        "document.querySelector('#f-gantt .step[data-step=\"1\"]').click()"
    )
    ended = time.monotonic() + 20
    while whole_text(browser, "f-gantt") == first and time.monotonic() < ended:
        time.sleep(0.05)
    assert whole_text(browser, "f-gantt") != first
    chosen = "return document.querySelector('#f-gantt select').selectedIndex"
    assert browser.execute_script(chosen) == 1


def _tooltip(browser):
    return "".join(e.text for e in browser.find_elements("id", "vg-tooltip-element"))


EXPECTED = (
    "who client 8 doing upload from (s) 2.000 to (s) 4.000 seconds 2 device laptop "
    "outcome done"
)


def test_hovering_says_what_a_bar_is(browser, pages):
    opened(browser, pages["tiny"])
    bar = browser.find_elements("css selector", "#c-gantt .mark-rect path")[-1]
    browser.execute_script(
        "arguments[0].scrollIntoView({block: 'center', behavior: 'instant'})", bar
    )
    webdriver.ActionChains(browser).move_to_element(bar).perform()
    ended = time.monotonic() + 10
    while not (said := _tooltip(browser)) and time.monotonic() < ended:
        time.sleep(0.05)
    assert " ".join(said.split()) == EXPECTED


def test_a_table_is_sorted_by_a_click_and_can_be_saved(browser, pages, tmp_path):
    opened(browser, pages["study"])
    column = """return [...document.querySelectorAll('#t-study tbody tr')]
      .map((row) => Number(row.cells[5].dataset.value))"""
    heads = browser.find_elements("css selector", "#t-study th button")
    assert heads[5].text == "seconds"
    for is_up in (True, False):
        browser.execute_script("arguments[0].click()", heads[5])
        times = browser.execute_script(column)
        assert times == sorted(times, reverse=not is_up)
    where = {"behavior": "allow", "downloadPath": str(tmp_path)}
    browser.execute_cdp_cmd("Browser.setDownloadBehavior", where)
    browser.execute_script("document.querySelector('#t-study .save').click()")
    ended = time.monotonic() + 20
    while not (tmp_path / "study.csv").exists() and time.monotonic() < ended:
        time.sleep(0.05)
    table = package.load_study(pages["study"].parent).table
    assert (tmp_path / "study.csv").read_text() == table.to_csv(index=False)
