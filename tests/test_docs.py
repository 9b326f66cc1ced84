"""Pages for people: links of those outside docs/ (mkdocs checks the others), the form of decisions, the picture."""

import re
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
PAGES = [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *(ROOT / "docs" / "decisions").glob("*.md")]
DECISIONS = sorted(path for path in (ROOT / "docs" / "decisions").glob("*.md") if path.name != "index.md")


def anchors(page):
    """The anchors of a page's headings, as GitHub and mkdocs make them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md", "CHANGELOG.md"])
def test_links_lead_somewhere(name):
    links = re.findall(r"\]\(([^)\s]+)\)", (ROOT / name).read_text())
    for link in links:
        if not link.startswith("https://"):
            path, _, anchor = link.partition("#")
            assert (ROOT / path).exists(), link
            assert not anchor or anchor in anchors(ROOT / path), link


@pytest.mark.parametrize("path", DECISIONS, ids=lambda path: path.stem)
def test_a_decision_is_short_and_whole(path):
    lines = path.read_text().splitlines()
    assert len(lines) <= 15 and re.fullmatch(r"20\d\d-\d\d-\d\d", lines[2])
    assert re.findall(r"^- \*\*(.+?):\*\*", path.read_text(), re.MULTILINE) == [
        "Choice",
        "Reason",
        "What else",
        "Consequence",
    ]


def test_the_index_names_every_decision_and_experiment():
    for folder in ("decisions", "experiments"):
        pages = {path.name for path in (ROOT / "docs" / folder).glob("*.md")} - {"index.md"}
        index = (ROOT / "docs" / folder / "index.md").read_text()
        assert pages == set(re.findall(r"\]\(([^)/]+\.md)\)", index)), folder


def test_the_picture_of_the_readme_is_small_and_the_citation_is_yaml():
    assert (ROOT / "docs" / "demo.gif").stat().st_size < 3_000_000
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["cff-version"] == "1.2.0" and len(citation["preferred-citation"]["authors"]) == 4


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_files_that_are_named_are_there(path):
    named = re.findall(r"(?<![\w/.])((?:reenact|tests|benchmarks|rules|envs|profiles)/[\w/.-]*\w)", path.read_text())
    examples = ("relight", "edges", "scrfd")
    assert [n for n in named if not (ROOT / n).exists() and not any(e in n for e in examples)] == []
