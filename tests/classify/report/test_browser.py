"""The page in a real browser: headless Chromium opens a copy with a script that uses it."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.classify.report.conftest import LABELS, SPEAKERS

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium; on Debian: apt-get install chromium"),
]
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--hide-scrollbars"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    *("--window-size=1280,20000", "--virtual-time-budget=20000"),  # every figure is in view
)
# Before the page's own scripts: collect every error.
WATCH = """<script>
window.seen = { errors: [], alerts: 0, parsed: 0 };
const parse = JSON.parse;
JSON.parse = (text, ...more) => { seen.parsed += text.length; return parse(text, ...more); };
window.alert = () => { seen.alerts += 1; };
for (const kind of ["error", "unhandledrejection", "securitypolicyviolation"]) {
  addEventListener(kind, (event) =>
    seen.errors.push(`${kind} ${event.message || event.reason || event.violatedDirective}`), true);
}
console.error = (...words) => seen.errors.push("console " + words.join(" "));
</script>"""
# After them: use the page, and write what it shows into the document.
USE = """<script>
(async () => {
  const wait = (ms) => new Promise((done) => setTimeout(done, ms));
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];
  const column = (table, k) => all("tbody tr", table).map((row) => row.cells[k].textContent);
  const coordinates = (plot) => plot.data.flatMap((trace) => [...trace.x]);
  await wait(4000);
  seen.drawn = all(".plot").map((plot) => Boolean(plot.querySelector(".main-svg")));
  seen.plotted = all(".plot text").map((text) => text.textContent);
  const layers = document.getElementById("run0-table-layers");
  const [scores, name] = [2, 1].map((k) => all("th button", layers)[k]);
  scores.focus();
  seen.focused = document.activeElement === scores;
  seen.sorted = ["ascending", "descending"].map((order) => {
    scores.click();
    return [scores.closest("th").getAttribute("aria-sort") === order, column(layers, 2).map(Number)];
  });
  name.click();
  seen.names = column(layers, 1);
  const hardest = document.getElementById("run0-table-hardest");
  const input = hardest.querySelector("input");
  const shown = () => all("tbody tr", hardest).filter((row) => !row.hidden);
  const first = column(hardest, 0)[0];
  input.value = first;
  input.dispatchEvent(new Event("input"));
  seen.filtered = shown().map((row) => row.cells[0].textContent);
  input.value = "";
  input.dispatchEvent(new Event("input"));
  seen.unfiltered = shown().length;
  const map = document.querySelector(".map");
  const plot = map.querySelector(".plot");
  const slider = map.querySelector(".layer");
  const [shownLayer, before] = [map.querySelector(".shown").textContent, coordinates(plot)];
  slider.value = slider.value === "0" ? "2" : "0";
  slider.dispatchEvent(new Event("input"));
  await wait(500);
  seen.map = { shownLayer, now: map.querySelector(".shown").textContent, points: before.length,
    moved: coordinates(plot).some((x, k) => x !== before[k]), classes: plot.data.map((t) => t.name),
    hover: plot.data[0].text[0] };
  const colour = map.querySelector(".colour");
  colour.value = "speaker";
  colour.dispatchEvent(new Event("change"));
  await wait(500);
  seen.map.speakers = plot.data.length;
  plot.emit("plotly_click", { points: [{ customdata: 5 }] });
  seen.map.playing = map.querySelector(".playing").textContent;
  seen.map.sound = map.querySelector("audio").getAttribute("src");
  const page = () => getComputedStyle(document.body).backgroundColor;
  const light = page();
  document.getElementById("theme").click();
  await wait(500);
  seen.themes = [light, page()];
  seen.markup = all("b, u, i, iframe, img[onerror]").length;
  const result = document.createElement("pre");
  result.id = "seen";
  result.textContent = JSON.stringify(seen);
  document.body.replaceChildren(result);
})();
</script>"""

# For a long report: what is there before anything is scrolled, and after.
LOOK = """<script>
(async () => {
  const wait = (ms) => new Promise((done) => setTimeout(done, ms));
  const all = (selector) => [...document.querySelectorAll(selector)];
  const drawn = () => all(".plot").map((plot) => Boolean(plot.querySelector(".main-svg")));
  const table = document.getElementById("run0-table-speakers");
  const rows = () => table.querySelectorAll("tbody tr").length;
  seen.atOnce = { plotly: typeof window.Plotly, parsed: seen.parsed, rows: rows(),
    nodes: all("*").length, pictures: all("img[src]").length };
  const inView = all(".plot").filter((plot) => plot.getBoundingClientRect().top < innerHeight);
  for (let k = 0; k < 100 && !inView.every((plot) => plot.querySelector(".main-svg")); k++) await wait(100);
  const loaded = () => all("img.static").filter((image) => image.naturalWidth).length;
  for (let k = 0; k < 300 && loaded() < all(".plot").length; k++) await wait(100);
  await wait(500);  // for what should not be drawn
  seen.first = drawn();
  seen.pictures = loaded();
  table.querySelector(".more button").click();
  seen.all = rows();
  seen.button = table.querySelector(".more") !== null;
  table.querySelectorAll("th button")[0].click();
  seen.sorted = [...table.querySelectorAll("tbody tr")].map((row) => row.cells[0].textContent);
  const map = document.querySelector(".map .plot");
  seen.points = map.data ? map.data.reduce((sum, trace) => sum + trace.x.length, 0) : 0;
  const result = document.createElement("pre");
  result.id = "seen";
  result.textContent = JSON.stringify(seen);
  document.body.replaceChildren(result);
})();
</script>"""


def browse(page: Path, folder: Path, *more: str) -> str:
    """The document after its scripts have run."""
    assert CHROMIUM is not None
    words = [CHROMIUM, *FLAGS, f"--user-data-dir={folder / 'profile'}", *more, page.as_uri()]
    done = subprocess.run(words, capture_output=True, text=True, timeout=300, check=True)
    return done.stdout


def used(page: Path, script: str, folder: Path, *more: str) -> dict[str, Any]:
    """What the script has seen of a page that it uses."""
    text = page.read_text()
    copy = page.with_name("used.html")
    begin, end = text.index("<style>"), text.rindex("</body>")
    copy.write_text(text[:begin] + WATCH + text[begin:end] + script + text[end:])
    document = browse(copy, folder, "--dump-dom", *more)
    copy.unlink()
    found = re.search(r'<pre id="seen">(.*?)</pre>', document, re.DOTALL)
    assert found, document[-3000:]
    return json.loads(html.unescape(found[1]))


@pytest.fixture(scope="module")
def seen(page, tmp_path_factory) -> dict[str, Any]:
    return used(page, USE, tmp_path_factory.mktemp("browser"))


def test_it_loads_without_errors_and_draws_every_figure(seen):
    assert seen["errors"] == []
    assert len(seen["drawn"]) > 8
    assert all(seen["drawn"])


def test_markup_in_names_is_text(seen):
    assert seen["alerts"] == 0
    assert seen["markup"] == 0
    shown = {text.replace("\u200b", "") for text in seen["plotted"]}
    assert set(LABELS) <= shown
    assert any(text.startswith(SPEAKERS[0][:20]) for text in shown)


def test_it_shows_the_numbers_of_the_summary(seen, summary):
    chance = f"chance {summary['chance']:.3f}"
    assert chance in seen["plotted"]


def test_tables_sort_by_number_and_by_name_in_both_directions(seen, summary):
    scores = sorted(round(entry["uar"]["value"], 3) for entry in summary["layers"])
    (up, ascending), (down, descending) = seen["sorted"]
    assert seen["focused"]
    assert up
    assert down
    assert ascending == scores
    assert descending == scores[::-1]
    assert seen["names"] == sorted(seen["names"])


def test_a_table_is_filtered_and_shown_again(seen):
    assert len(seen["filtered"]) == 1
    assert seen["unfiltered"] == 20


def test_the_slider_moves_the_map_to_another_layer(seen, summary):
    found = seen["map"]
    assert found["points"] == summary["data"]["clips"]
    assert found["moved"]
    assert found["shownLayer"] != found["now"]
    assert found["now"].startswith("layer ")
    assert found["speakers"] == 8
    assert found["hover"].count("<br>") == 4
    assert "&lt;u&gt;" in found["hover"]


def test_a_click_on_the_map_plays_the_clip(seen, page):
    from urllib.parse import unquote

    assert "clip <u>" in seen["map"]["playing"]
    assert (page.parent / unquote(seen["map"]["sound"])).is_file()


def test_the_theme_changes(seen):
    light, dark = seen["themes"]
    assert light != dark


def test_it_prints_with_the_figures_for_paper(page, tmp_path):
    pdf = tmp_path / "report.pdf"
    browse(page, tmp_path, f"--print-to-pdf={pdf}", "--no-pdf-header-footer")
    content = pdf.read_bytes()
    assert content.startswith(b"%PDF")
    pages = [int(count) for count in re.findall(rb"/Count (\d+)", content)]
    assert 4 <= max(pages) <= 30


def test_of_10_000_clips_only_what_is_in_view_is_rendered(large_page, tmp_path):
    assert large_page.stat().st_size < 15e6
    found = used(large_page, LOOK, tmp_path, "--window-size=1280,800", "--virtual-time-budget=90000")
    assert found["errors"] == []
    assert found["atOnce"]["plotly"] == "undefined"
    assert found["atOnce"]["parsed"] == 0
    assert found["atOnce"]["rows"] == 100
    assert found["atOnce"]["nodes"] < 2_500
    assert 1 <= sum(found["first"]) < len(found["first"]) / 2
    assert found["atOnce"]["pictures"] == 0, "figures for print wait for their turn"
    assert found["pictures"] == len(found["first"])
    assert found["all"] == 300
    assert not found["button"]
    assert found["sorted"] == sorted(found["sorted"])
    assert len(set(found["sorted"])) == 300
    assert found["points"] == 0, "the map is not in view"
    whole = used(large_page, LOOK, tmp_path)  # in a window as high as the page
    assert all(whole["first"])
    assert whole["points"] == 10_000
