"""The site has every page, whichever are there, and says of options and names what the code says."""

from __future__ import annotations

import importlib.util
import inspect
import os
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

import mtlfn
from mtlfn.__main__ import names
from mtlfn.run.commands import options

ROOT = Path(__file__).parent.parent


def module() -> ModuleType:
    spec = importlib.util.spec_from_file_location("site_script", ROOT / "scripts/site.py")
    assert spec is not None
    assert spec.loader is not None
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


@pytest.fixture(scope="module")
def site() -> ModuleType:
    return module()


def test_every_option_of_every_command_stands_on_the_page(site: ModuleType):
    page = "\n".join(site.option_lines())
    flags = set(re.findall(r"^\| `(--[a-z0-9-]+)`", page, flags=re.MULTILINE))
    fields = {name for group in options.grouped().values() for name in group}
    assert flags >= {f"--{name.replace('_', '-')}" for name in fields}
    assert {"--from", "--keep", "--match", "--strict", "--max-hours"} <= flags
    assert {f"## mtlfn {name}" for name in names()} <= set(page.splitlines())
    assert "| `--budget-tokens` | whole number | `150000` | Input tokens to train on" in page
    assert "| `--engine` | `loop`, `merged` | `merged` |" in page


def test_navigation_takes_the_pages_that_are_there(site: ModuleType, tmp_path: Path):
    for name in ("index", "speed", "brand-new"):
        (tmp_path / f"{name}.md").write_text("# x\n")
    assert site.navigation(tmp_path) == ["index.md", {"Evidence": ["speed.md"]}, {"More": ["brand-new.md"]}]


def test_every_page_of_today_has_its_place(site: ModuleType):
    places = {name for section in site.SECTIONS.values() for name in section}
    assert {page.stem for page in (ROOT / "docs").glob("*.md")} <= places


def test_a_folder_that_is_no_site_is_not_replaced(tmp_path: Path):
    (tmp_path / "thesis.tex").write_text("years of work")
    command = [sys.executable, "scripts/site.py", "--output", str(tmp_path)]
    ended = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, env=os.environ | {"PYTHONPATH": str(ROOT)}
    )
    assert ended.returncode == 2
    assert "holds files that are no site" in ended.stderr
    assert (tmp_path / "thesis.tex").read_text() == "years of work"


def test_every_public_name_can_be_shown(site: ModuleType, monkeypatch: pytest.MonkeyPatch):
    def told(thing: object) -> list[str]:
        assert inspect.getdoc(thing), f"{thing} is public and says nothing"
        return [str(inspect.getdoc(thing))]

    monkeypatch.setattr(site, "_docstring", told)
    page = "\n".join(site.python_lines())
    assert set(re.findall(r"^## mtlfn\.(\w+)$", page, flags=re.MULTILINE)) == set(mtlfn.__all__)
    assert {f'### mtlfn.ENGINES["{name}"]' for name in mtlfn.ENGINES} <= set(page.splitlines())
    assert "device: str = 'auto'" in page
    assert "engine: Engine = merged" in page
    assert not re.search(r" at 0x[0-9a-f]+|NOTHING", page)


@pytest.mark.slow
def test_the_site_builds_without_a_warning_and_fetches_nothing(tmp_path: Path):
    pytest.importorskip("zensical", reason='no site builder: pip install "mtlfn[docs]"')
    pytest.importorskip("griffe", reason='no reader of docstrings: pip install "mtlfn[docs]"')
    command = [sys.executable, "scripts/site.py", "--output", str(tmp_path / "site")]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=environment)
    assert ended.returncode == 0, ended.stderr
    for page in (ROOT / "docs").glob("*.md"):
        assert (tmp_path / f"site/{page.stem}.html").is_file()
    python = (tmp_path / "site/reference/python.html").read_text(encoding="utf-8")
    assert all(f"mtlfn.{name}" in python for name in mtlfn.__all__)
    for page in (tmp_path / "site").rglob("*.html"):
        loaded = re.findall(r'<(?:script|link|img)[^>]+(?:src|href)="?(https?://[^">\s]+)', page.read_text("utf-8"))
        assert not loaded, page
