"""The page in a real browser: it fetches nothing, reports no problem, sorts by mouse and keyboard, and fits."""

import pytest
from browser import CHROMIUM, Browser
from made_up import bounded, exact, missing

from jacprobe.report import write_report
from jacprobe.results import SpectrumSet

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")

TABLE = "document.querySelector('[aria-label=\"Layers of net\"] table')"
NAMES = f"[...{TABLE}.tBodies[0].rows].map(row => row.cells[1].textContent)"
SORTED = f"[...{TABLE}.tHead.rows[0].cells].map(head => head.getAttribute('aria-sort'))"


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    layers = (exact("fc10", [[2.0, 1.0]], zeros=0), exact("fc9", [[1.0, 0.0]], zeros=1), bounded("<b>fc1</b>"),
              missing("gone", "layer"))
    path = tmp_path_factory.mktemp("report") / "a page & more.html"
    return write_report({"net": SpectrumSet(layers)}, path, title="<img src=x onerror=alert(1)>")


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    browser = Browser(tmp_path_factory.mktemp("profile"))
    yield browser
    browser.close()


def head(name):
    return f"[...{TABLE}.tHead.rows[0].cells].find(head => head.textContent.trim() === '{name}').firstElementChild"


def test_the_table_sorts_by_a_click_both_ways_with_unknown_numbers_last(browser, page):
    browser.open(page)
    assert browser.value(NAMES) == ["fc10", "fc9", "<b>fc1</b>", "gone"]
    assert browser.value(SORTED)[0] == "ascending"
    browser.click(head("mean"))
    assert browser.value(NAMES) == ["fc9", "<b>fc1</b>", "fc10", "gone"]
    browser.click(head("mean"))
    assert browser.value(NAMES) == ["fc10", "<b>fc1</b>", "fc9", "gone"]
    assert browser.value(SORTED)[4] == "descending"
    assert [state for state in browser.value(SORTED) if state] == ["descending"]
    browser.click(head("segment"))
    assert browser.value(NAMES) == ["<b>fc1</b>", "fc9", "fc10", "gone"]
    assert browser.problems == []


def test_the_table_sorts_by_the_keyboard(browser, page):
    browser.open(page)
    browser.value(f"({head('cond')}).focus()")
    browser.press("Enter", 13)
    assert browser.value(NAMES)[:2] == ["fc10", "fc9"]
    browser.press("Enter", 13)
    assert browser.value(NAMES)[:2] == ["fc9", "fc10"]
    browser.press("Tab", 9)
    assert browser.value("document.activeElement.textContent").startswith("within")


def test_the_page_fetches_nothing_and_reports_no_problem(browser, page):
    browser.open(page)
    fetched = [url for url in browser.requests if not url.startswith("data:")]
    assert fetched == [page.as_uri()]
    assert browser.problems == []
    assert browser.value("document.querySelector('h1').textContent") == "<img src=x onerror=alert(1)>"
    assert browser.value("[...document.images].every(image => image.complete && image.naturalWidth > 0)")
    blocked = "fetch('https://example.org/').then(() => 'fetched', () => 'blocked')"
    assert browser.value(blocked) == "blocked"


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [400, 1400])
def test_the_page_fits_and_its_text_stands_out(browser, page, width, scheme):
    browser.open(page, width=width, scheme=scheme)
    assert browser.value("document.documentElement.scrollWidth") == width
    ratios = browser.value(CONTRASTS)
    assert len(ratios) > 20
    assert min(ratios) >= 4.5  # WCAG AA
    shown = browser.value("[...document.querySelectorAll('picture img')].map(image => [image.currentSrc =="
                          " image.src, image.clientWidth / image.naturalWidth])")
    assert all(wide == (width == 1400) for wide, _ in shown)
    assert all(0.9 < scale < 1.3 for _, scale in shown)  # so that its type is as large as it was drawn
    filtered = browser.value("getComputedStyle(document.querySelector('img.figure')).filter")
    assert (filtered != "none") == (scheme == "dark")
    assert browser.problems == []


def test_the_page_works_without_script_and_prints_light(browser, page):
    browser.open(page, script=False)
    browser.ask("Emulation.setScriptExecutionDisabled", value=False)
    assert browser.value(NAMES) == ["fc10", "fc9", "<b>fc1</b>", "gone"]
    assert browser.value("document.querySelectorAll('button').length") == 0
    browser.open(page, scheme="dark", media="print")
    assert browser.value("getComputedStyle(document.querySelector('img.figure')).filter") == "none"
    assert browser.value("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"


CONTRASTS = """(() => {
  const channels = (color) => color.match(/[\\d.]+/g).map(Number);
  const linear = (c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
  const light = (color) => {
    const [r, g, b] = channels(color).map((c) => linear(c / 255));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ground = (node) => {
    for (; node; node = node.parentElement) {
      const color = getComputedStyle(node).backgroundColor;
      if ((channels(color)[3] ?? 1) > 0) return color;
    }
    return "rgb(255, 255, 255)";
  };
  const texts = [...document.body.querySelectorAll("*")].filter((node) => node.tagName !== "SCRIPT" &&
    [...node.childNodes].some((child) => child.nodeType === 3 && child.textContent.trim()));
  return texts.map((node) => {
    const [a, b] = [light(getComputedStyle(node).color), light(ground(node))];
    return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
  });
})()"""
