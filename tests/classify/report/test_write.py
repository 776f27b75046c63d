"""What `report` writes: the page's structure, figures, tables; runs that lack something or are damaged."""

from __future__ import annotations

import base64
import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote
from xml.etree import ElementTree

import numpy as np
import pytest

from layerprobe.cache.common.errors import InputError
from layerprobe.classify.report.figures import clip_map
from layerprobe.classify.report.run_data import read_run
from layerprobe.classify.report.write import write_report
from layerprobe.classify.runs.run_folder import FINISHED_FILES
from tests.classify.report.conftest import LABELS, SPEAKERS
from tests.run import cli, refused

pytestmark = pytest.mark.slow


class Page(HTMLParser):
    """Tags with their attributes, and the text outside of scripts."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.skipped = False
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self.skipped = tag in ("script", "style")

    def handle_endtag(self, tag):
        self.skipped = False

    def handle_data(self, data):
        if not self.skipped:
            self.text += data

    def values(self, attribute: str) -> list[str]:
        return [value for _, attributes in self.tags if (value := attributes.get(attribute))]


def map_of(text: str) -> dict:
    """The data of the only map on a page."""
    return json.loads(text.partition('id="data-run0-map">')[2].partition("</script>")[0])


@pytest.fixture(scope="module")
def parsed(page) -> Page:
    return Page(page.read_text())


def test_it_shows_the_numbers_of_the_summary(parsed, summary):
    uar = summary["selected"]["uar"]
    assert f"UAR {uar['value']:.3f} (95 % interval {uar['low']:.3f} to {uar['high']:.3f}" in parsed.text
    assert f"Chance is {summary['chance']:.3f}" in parsed.text
    assert "the score is for unseen speakers" in parsed.text
    for entry in summary["layers"]:
        assert f"{entry['uar']['value']:.3f}" in parsed.text
    shuffled = summary["controls"]["shuffled"]["uar"]
    assert f"{shuffled['value']:.3f} ± {shuffled['sd']:.3f}" in parsed.text


def test_it_needs_no_network(parsed):
    loaded = parsed.values("src") + [
        attributes["href"]
        for tag, attributes in parsed.tags
        if tag in ("a", "link") and attributes.get("href")
    ]
    assert loaded
    assert not [link for link in loaded if link and re.match(r"(https?:)?//", link)]
    policy = next(a for t, a in parsed.tags if t == "meta" and "http-equiv" in a)["content"]
    assert policy is not None
    assert policy.startswith("default-src 'none'")


def test_names_with_markup_are_text(parsed):
    assert {tag for tag, _ in parsed.tags}.isdisjoint({"b", "u", "i", "iframe"})
    pictures = [attributes for tag, attributes in parsed.tags if tag == "img"]
    assert pictures
    for picture in pictures:
        assert "src" not in picture
        assert (picture["data-src"] or "").startswith("data:image/svg+xml")
    assert not parsed.values("onerror")
    for name in (*LABELS, *SPEAKERS[:2]):
        assert name in parsed.text
    kinds = [attributes.get("type") for tag, attributes in parsed.tags if tag == "script"]
    assert {kind: kinds.count(kind) for kind in (None, "text/plain")} == {None: 1, "text/plain": 1}
    assert set(kinds) == {None, "text/plain", "application/json"}


def test_links_lead_to_files(parsed, page):
    links = [a["href"] for t, a in parsed.tags if t == "a" and a.get("href", "#")[0] != "#"]
    sounds = [a["src"] for t, a in parsed.tags if t == "audio" and a.get("src")]
    assert links
    assert sounds
    for link in (*links, *sounds):
        assert (page.parent / unquote(link)).is_file(), link


def test_sections_that_the_navigation_names_exist(parsed):
    ids = set(parsed.values("id"))
    named = {a["href"][1:] for t, a in parsed.tags if t == "a" and a.get("href", "").startswith("#")}
    assert named <= ids
    assert len(ids) == len(parsed.values("id")), "an id is given twice"


def test_every_figure_is_svg_and_pdf_for_one_and_two_columns(page):
    names = {path.name.rsplit("-", 2)[0] for path in (page.parent / "figures").iterdir()}
    assert {"layers", "layers_by_heads", "controls", "probes", "confusion", "calibration"} <= names
    assert "description_length" in names
    assert {"speakers", "clip_map", "search_history", "importance_logreg", "importance_svm"} <= names
    for name in names:
        for column in ("one-column", "two-columns"):
            for kind in ("svg", "pdf"):
                assert (page.parent / "figures" / f"{name}-{column}.{kind}").stat().st_size > 500


def test_text_in_figures_is_text_and_fonts_are_embedded(page):
    svg = ElementTree.parse(page.parent / "figures" / "confusion-two-columns.svg")
    words = {"".join(element.itertext()) for element in svg.iter("{http://www.w3.org/2000/svg}text")}
    assert {*LABELS, "predicted", "true class"} <= words
    pdf = (page.parent / "figures" / "layers-one-column.pdf").read_bytes()
    assert b"/Type3" not in pdf
    assert b"/FontFile2" in pdf
    assert b"/CIDFontType2" in pdf


def test_one_column_is_as_wide_as_a_column(page):
    for column, inches in (("one-column", 3.5), ("two-columns", 7.2)):
        root = ElementTree.parse(page.parent / "figures" / f"layers-{column}.svg").getroot()
        assert float(root.get("width", "").removesuffix("pt")) == pytest.approx(72 * inches, abs=0.5)


def test_tables_are_latex_and_markdown(page, summary):
    latex = (page.parent / "tables" / "layers.tex").read_text()
    best = max(entry["uar"]["value"] for entry in summary["layers"])
    assert r"\toprule" in latex
    assert f"{best:.3f}" in latex
    assert r"\textless{}b\textgreater{}angry" in (page.parent / "tables" / "classes.tex").read_text()
    assert r"\<b\>angry" in (page.parent / "tables" / "classes.md").read_text()


def test_the_map_holds_every_clip_and_layer(page, summary):
    found = map_of(page.read_text())
    assert found["layers"] == ["0", "1", "2"]
    assert len(found["clips"]) == len(found["links"]) == summary["data"]["clips"] == 96
    assert set(found["colours"]) == {"class", "speaker", "prediction"}
    assert all(0 < share <= 1 for share in found["explained"])


@pytest.mark.slow
@pytest.mark.usefixtures("few_figures")
def test_the_map_by_umap(runs, tmp_path):
    pytest.importorskip("umap")
    maps = []
    for out in (tmp_path / "one", tmp_path / "two"):
        text = write_report([runs[1]], out, map="umap").read_text()
        assert "a UMAP projection of the layer" in text
        assert "first two principal components" not in text
        found = map_of(text)
        assert (found["method"], found["explained"], len(found["xy"])) == ("umap", [], 3)
        maps.append(found["xy"])
    assert maps[0] == maps[1], "the same run gives the same map"
    xy = np.frombuffer(base64.b64decode(maps[0][0]), "<i2").reshape(-1, 2)
    assert len(xy) == 96
    assert (xy.std(0) > 100).all()


def test_a_map_that_cannot_be_drawn_is_refused_first(runs, tmp_path, monkeypatch):
    with pytest.raises(InputError, match="--map tsne; choose from pca, umap"):
        write_report([runs[1]], tmp_path, map="tsne")
    monkeypatch.setattr(clip_map, "find_spec", lambda _: None)
    with pytest.raises(InputError, match=r"pip install 'layerprobe\[umap\]'"):
        write_report([runs[1]], tmp_path, map="umap")
    assert not list(tmp_path.iterdir())


@pytest.mark.usefixtures("few_figures")
def test_what_a_run_does_not_have_is_named_with_the_reason(runs, tmp_path):
    moved = tmp_path / "moved"
    shutil.copytree(runs[1], moved)
    record = json.loads((moved / "run.json").read_text())
    record["store"] = str(tmp_path / "nowhere")
    record["command"]["table"] = str(tmp_path / "nowhere.csv")
    (moved / "run.json").write_text(json.dumps(record))
    (moved / "search.db").unlink()
    page = write_report([moved], moved / "report")
    text = Page(page.read_text()).text
    assert "The audit was not run" in text
    assert "No controls were run" in text
    assert "The score and its controls" not in text
    missing = text[text.index("Not in this report") :]
    for title in ("Controls", "Probes", "Learning curve", "Audit"):
        assert f"{title}: not run" in missing
    assert "Map of the clips: " in missing
    assert "nowhere.csv" in missing
    assert "Search: it has no search.db" in missing
    assert "file not found" not in text, "no clip has a sound file: no column for them"
    assert not list((page.parent / "figures").glob("clip_map*"))


@pytest.mark.usefixtures("few_figures")
def test_two_runs_are_compared(runs, tmp_path):
    page = write_report(runs, tmp_path / "both")
    parsed = Page(page.read_text())
    assert "The runs on the same clips" in parsed.text
    assert "Differences between runs" in parsed.text
    assert len(set(parsed.values("id"))) == len(parsed.values("id"))
    assert (page.parent / "figures" / "comparison" / "cost-two-columns.svg").is_file()
    assert (page.parent / "tables" / "run1" / "layers.tex").is_file()


@pytest.mark.usefixtures("few_figures")
def test_runs_on_other_clips_are_shown_without_a_comparison(runs, tmp_path):
    other = tmp_path / "other"
    shutil.copytree(runs[1], other)
    rows = (other / "predictions.csv").read_text()
    (other / "predictions.csv").write_text(rows.replace("clip <u>", "tape <u>"))
    text = Page(write_report([runs[1], other], tmp_path / "both").read_text()).text
    assert "The runs are not compared" in text
    assert "Selected system" in text


@pytest.mark.parametrize(
    ("file", "damage"),
    [
        *((name, "missing") for name in ("run.json", *FINISHED_FILES)),
        *((name, "cut") for name in ("run.json", "summary.json", "predictions.csv")),
    ],
)
def test_a_damaged_run_is_one_line(runs, tmp_path, file, damage):
    run = tmp_path / "run"
    shutil.copytree(runs[1], run)
    path = run / file
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    line = refused(cli("report", run, "--out", tmp_path / "out"))
    assert str(run) in line
    assert not (tmp_path / "out" / "report.html").exists()


@pytest.mark.parametrize(
    ("file", "change"),
    [
        ("summary.json", lambda value: value.pop("chance")),
        ("summary.json", lambda value: value.update(layers=3)),
        ("summary.json", lambda value: value["selected"].pop("uar")),
        ("summary.json", lambda value: value["selected"].update(folds=[{}])),
        ("summary.json", lambda value: value["selected"].update(confusion={"counts": [[1]], "rates": []})),
        ("run.json", lambda value: value.update(finished=False)),
        ("run.json", lambda value: value.pop("config")),
    ],
)
def test_a_run_with_missing_entries_is_one_line(runs, tmp_path, file, change):
    run = tmp_path / "run"
    shutil.copytree(runs[1], run)
    value = json.loads((run / file).read_text())
    change(value)
    (run / file).write_text(json.dumps(value))
    with pytest.raises(InputError, match=re.escape(str(run))):
        write_report([run], tmp_path / "out")


def test_a_folder_that_is_no_run_and_one_given_twice_are_refused(runs, tmp_path):
    assert "no such run folder" in refused(cli("report", tmp_path / "none"))
    assert "is no run folder" in refused(cli("report", tmp_path))
    (tmp_path / "bundle.json").write_text("{}")
    line = refused(cli("report", tmp_path))
    assert line == f"error: {tmp_path}: is a bundle, no run folder; name the run folder above it"
    assert "given twice" in refused(cli("report", runs[1], runs[1]))


def test_an_output_that_cannot_be_written_is_refused(runs, tmp_path):
    (tmp_path / "file").write_text("")
    assert "cannot be written" in refused(cli("report", runs[1], "--out", tmp_path / "file"))


def test_the_run_folder_is_only_read(runs):
    record = (runs[0] / "run.json").read_bytes()
    trials = (runs[0] / "search.db").read_bytes()
    read_run(runs[0])
    assert (runs[0] / "run.json").read_bytes() == record
    assert (runs[0] / "search.db").read_bytes() == trials


@pytest.mark.usefixtures("few_figures")
def test_a_fine_tuning_run_of_an_earlier_version_has_a_report(tmp_path):
    files = Path(__file__).parents[2] / "last_version" / "files" / "runs"
    for run in sorted(path.parent for path in files.rglob("run.json")):
        if json.loads((run / "run.json").read_text()).get("finished"):
            text = Page(write_report([run], tmp_path / run.name).read_text()).text
            assert "Selected system" in text
            low = json.loads((run / "summary.json").read_text())
            above = low["selected"]["uar"]["low"] > low["chance"]
            assert ("not shown to be above chance" in text) == (not above)
