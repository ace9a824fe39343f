"""The pages in `docs/`: links lead somewhere, images are small, every public name and every code is explained."""

import pkgutil
import re
import subprocess
import sys
from pathlib import Path
from typing import get_origin

import pytest

import lightning_landscape
from lightning_landscape.evidence import CAUSES, Cause, Finding, Verdict
from lightning_landscape.evidence import card as cards
from lightning_landscape.evidence.card import link_to

DOCS = Path(__file__).parents[1] / "docs"
MKDOCS = DOCS.parent / "mkdocs.yml"
PAGES = sorted(DOCS.rglob("*.md"))


def built(config, site):
    """Build the site, and return the process."""
    pytest.importorskip("material")
    pytest.importorskip("mkdocstrings")
    # With --quiet, MkDocs counts no warnings, and --strict lets everything pass.
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "-f", str(config), "-d", str(site)]
    return subprocess.run(command, cwd=DOCS.parent, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    process = built(MKDOCS, folder)
    assert process.returncode == 0, process.stderr
    return folder


def read(site, page):
    return (site / page / "index.html").read_text(encoding="utf-8")


@pytest.mark.slow
def test_the_pages_build_without_a_warning(site):
    assert "<blockquote>" not in read(site, "api_parts")  # a doctest that was taken for plain Markdown
    assert (site / "images" / "tab.png").is_file()


@pytest.mark.slow
def test_the_pages_can_be_light_and_dark_and_ask_no_other_host_for_anything(site):
    page = read(site, "")
    assert 'data-md-color-scheme="default"' in page
    assert 'data-md-color-scheme="slate"' in page
    assert not re.findall(r'<(?:script|link|img)[^>]+(?:src|href)="(?:https?:)?//', page)


@pytest.mark.slow
def test_the_navigation_has_four_parts(site):
    navigation = re.search(r"^nav:\n(.*?)^\w", MKDOCS.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)[1]
    parts = re.findall(r"^  - (\w+):$", navigation, re.MULTILINE)
    assert parts == ["Start", "Understand", "Reference", "Evidence"]
    assert all(part in read(site, "") for part in parts)


@pytest.mark.slow
@pytest.mark.parametrize("cause", Cause)
def test_the_link_of_a_verdict_leads_to_the_page_of_its_cause_and_to_the_section_of_its_finding(
    cause, site, monkeypatch
):
    monkeypatch.setattr(cards, "documentation", lambda: "https://docs.example")
    text = (DOCS / "causes" / f"{cause}.md").read_text(encoding="utf-8")
    findings = [None, *re.findall(rf"^### {CAUSES[cause].code} ([a-z-]+)$", text, re.MULTILINE)]
    for name in findings:
        finding = None if name is None else Finding(name, cause, "", "")
        link = link_to(Verdict(cause, step=9, since=0, stuck=True, reason="", finding=finding))
        page, _, section = link.removeprefix("https://docs.example/").partition("#")
        assert not section or f'id="{section}"' in read(site, page)


@pytest.mark.slow
@pytest.mark.parametrize("link", ["lost.md", "index.md#lost", "/lost", "images/lost.png"])
def test_a_link_that_leads_nowhere_fails_the_build(link, tmp_path):
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "index.md").write_text(f"# Page\n\n[lost]({link})\n", encoding="utf-8")
    config = tmp_path / "mkdocs.yml"
    config.write_text(
        f"INHERIT: {MKDOCS}\ndocs_dir: {tmp_path / 'docs'}\nnav: [index.md]\nplugins: []\nextra_css: []\n",
        encoding="utf-8",
    )
    process = built(config, tmp_path / "site")
    assert process.returncode == 1
    assert "lost" in process.stderr


def test_every_image_on_a_page_exists_and_is_small():
    images = {
        (page.parent / name).resolve()
        for page in PAGES
        for name in re.findall(r"!\[[^]]+\]\(([^)]+)\)", page.read_text("utf-8"))
    }
    assert len(images) > 10
    assert all(path.is_file() for path in images)
    assert all(path.stat().st_size < 100_000 for path in images)


def test_every_link_between_files_of_the_repository_leads_to_a_file():
    pages = [DOCS.parent / "README.md", DOCS.parent / "CONTRIBUTING.md", *PAGES]
    links = {
        (page, link)
        for page in pages
        for link in re.findall(r"\]\(([^)#\s]+)(?:#[^)\s]*)?\)", page.read_text(encoding="utf-8"))
        if "://" not in link
    }
    assert len(links) > 100
    assert {(page.name, link) for page, link in links if not (page.parent / link).exists()} == set()


def test_every_public_name_is_on_the_api_page_under_its_public_name():
    entries = re.findall(r"^::: lightning_landscape\.(\w+)$", (DOCS / "api.md").read_text("utf-8"), re.MULTILINE)
    assert len(entries) == len(set(entries))
    assert set(lightning_landscape.__all__) - {"__version__"} <= set(entries)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["report", "verdict", "verdicts", "findings"])
def test_the_api_page_has_what_a_monitor_reports(name, site):
    assert f'id="lightning_landscape.LandscapeMonitor.{name}"' in read(site, "api")


@pytest.mark.parametrize("page", ["api.md", "api_parts.md"])
def test_every_name_on_an_api_page_exists_and_has_a_docstring(page):
    names = re.findall(r"^::: ([\w.]+)$", (DOCS / page).read_text(encoding="utf-8"), re.MULTILINE)
    assert len(names) == len(set(names)) > 20
    for name in names:
        thing = pkgutil.resolve_name(name)
        assert get_origin(thing) is not None or thing.__doc__, name  # the text of a type alias is not kept by Python


def test_every_page_is_in_the_navigation():
    listed = re.findall(r": ([\w/]+\.md)$", MKDOCS.read_text(encoding="utf-8"), re.MULTILINE)
    assert sorted(listed) == sorted(path.relative_to(DOCS).as_posix() for path in PAGES)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::lightning_landscape.errors.PlateauWarning")
def test_the_message_on_the_page_about_stuck_runs_is_what_its_run_prints(capsys):
    page = (DOCS / "stuck.md").read_text(encoding="utf-8")
    (program,) = [code for code in re.findall(r"```python\n(.*?)```", page, re.DOTALL) if "trainer.fit" in code]
    (shown,) = re.findall(r"```text\n(.*?) …\n```", page, re.DOTALL)
    exec(compile(program, "stuck.md", "exec"), {"__name__": "__main__"})
    # The numbers of another version of torch may differ in their last digits.
    printed, shown = (re.sub(r"[\d.e-]*\d", "#", " ".join(text.split())) for text in (capsys.readouterr().out, shown))
    assert shown in printed
