"""The documentation's site: built without warnings, no broken link, nothing loaded from another server."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from tests.run import ENVIRONMENT, ROOT

pytestmark = pytest.mark.slow
LOADED = {"script": "src", "img": "src", "link": "href", "iframe": "src", "audio": "src", "source": "src"}
# Links that name a page and load nothing.
NAMING = {"canonical", "next", "prev"}


class Page(HTMLParser):
    """links: of <a>. loads: what the browser fetches. ids: targets of links. classes: of all elements."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.loads: list[str] = []
        self.ids: set[str] = set()
        self.classes: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        self.ids |= {values[name] for name in ("id", "name") if name in values}
        self.classes |= set(values.get("class", "").split())
        if tag == "a" and "href" in values:
            self.links.append(values["href"])
        if tag in LOADED and LOADED[tag] in values and not NAMING & set(values.get("rel", "").split()):
            self.loads.append(values[LOADED[tag]])


@cache
def parsed(path: Path) -> Page:
    return Page(path.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    shutil.copytree(ROOT / "docs", folder / "docs")
    shutil.copy(ROOT / "zensical.toml", folder)
    done = subprocess.run(
        [sys.executable, "-m", "zensical", "build", "--strict"],
        cwd=folder,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / "site"


def pages(site: Path) -> list[Path]:
    return sorted(site.glob("*.html"))


def test_every_page_is_built_and_in_the_navigation(site: Path):
    names = {path.stem for path in (ROOT / "docs").glob("*.md")}
    assert names <= {path.stem for path in pages(site)}
    navigation = tomllib.loads((ROOT / "zensical.toml").read_text())["project"]["nav"]
    assert names == {Path(name).stem for name in re.findall(r"'([\w-]+\.md)'", str(navigation))}


def test_every_link_leads_to_a_page_and_a_heading(site: Path):
    checked = 0
    for path in pages(site):
        for link in parsed(path).links:
            address = urlsplit(link)
            if address.scheme or address.netloc or path.name == "404.html":
                continue
            target = path if not address.path else (path.parent / unquote(address.path)).resolve()
            assert target.exists(), (path.name, link)
            if address.fragment and target.suffix == ".html":
                assert unquote(address.fragment) in parsed(target).ids, (path.name, link)
            checked += 1
    assert checked > 200


def test_nothing_is_loaded_from_another_server(site: Path):
    for path in pages(site):
        page = parsed(path)
        for address in page.loads:
            assert not urlsplit(address).netloc, (path.name, address)
        # For these the theme's script fetches libraries.
        assert not page.classes & {"mermaid", "arithmatex", "glightbox"}, path.name
    for style in site.rglob("*.css"):
        text = style.read_text(encoding="utf-8")
        assert not re.search(r"(url\(|@import)\s*[\"']?(https?:)?//", text), style.name


def test_the_python_reference_is_up_to_date():
    program = [sys.executable, "docs/make_api.py"]
    made = subprocess.run(program, cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True, check=True)
    assert (ROOT / "docs" / "python.md").read_text() == made.stdout, "run: make reference"
