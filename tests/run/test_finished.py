"""What is done with a finished run: its page is made, and its exports are shared. Neither touches what it sealed."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from types import SimpleNamespace

import huggingface_hub
import pytest
from huggingface_hub.errors import LocalTokenNotFoundError

import mtlfn
from mtlfn.analysis.command import page, report
from mtlfn.analysis.reporting import run_page
from mtlfn.run.commands.command import push
from mtlfn.run.storage import seal
from tests.run.conftest import contents


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("finished")


@pytest.fixture
def finished(go, folder, tmp_path) -> Path:
    """A copy of a finished run, with quick evaluations."""
    if not (folder / "run").exists():
        assert go(output_dir=folder / "run", quick_eval_examples=8, save_every_steps=2).code == 0
    return Path(shutil.copytree(folder / "run", tmp_path / "run"))


# The page


def test_the_page_is_one_file_and_no_part_of_the_run(finished, capfd):
    before = contents(finished)
    assert report([str(finished)]) == 0, capfd.readouterr().err
    path = finished / "report/index.html"
    first = path.read_text(encoding="utf-8")
    assert {name: data for name, data in contents(finished).items() if name != "report/index.html"} == before
    assert not seal.verify(finished).problems
    assert report([str(finished)]) == 0
    assert path.read_text(encoding="utf-8") == first  # the same bytes
    for anchor in ("scores", "curves", "losses", "conflicts", "tokens", "sigma", "data", "facts"):
        assert f'<section id="{anchor}"' in first
    assert first.count("<svg") >= 4  # curves, losses, and two of conflicts
    assert not re.search(r"<script|<link|<img|src=|https?://(?!www\.w3\.org)", first)
    result = mtlfn_result(finished)
    assert f"{result['scores']['ddi']['dev']:.4f}" in first
    assert f"{result['tokens']['loss']['ddi']:,}" in first
    assert result["digest"] in first


def mtlfn_result(folder: Path) -> dict:
    import json

    return json.loads((folder / "result.json").read_text())


def test_a_run_makes_its_page_at_its_end(go, tmp_path, bert, data, warm):
    from mtlfn.run.commands.command import main

    settings = {"backbone": bert, "tasks": "ddi", "data-dir": data, "cache-dir": warm, "output-dir": tmp_path / "run"}
    flags = [part for name, value in settings.items() for part in (f"--{name}", str(value))]
    flags += ["--budget-tokens", "200", "--micro-batch-tokens", "64", "--quick-eval-examples", "0", "--skip-smoke-test"]
    assert main("s1", "A test.", flags, page) == 0
    text = (tmp_path / "run/report/index.html").read_text()
    assert "Missing: conflicts" in text
    assert "Missing: curves" not in text  # the evaluation at the end
    (tmp_path / "run/report/index.html").write_text("mine")
    assert main("s1", "A test.", flags, page) == 0  # finished already: what is there stays
    assert (tmp_path / "run/report/index.html").read_text() == "mine"


def test_a_page_that_cannot_be_made_hinders_nothing(finished, monkeypatch):
    said: list[str] = []
    monkeypatch.setattr(run_page, "build", lambda folder: 1 / 0)
    run_page.attempt(finished, said.append)
    assert said[0].startswith("no page: ZeroDivisionError")
    assert not (finished / "report").exists()


def test_a_curve_of_many_steps_is_thinned_to_means():
    points = [(float(i), float(i % 2)) for i in range(1000)]
    thin = run_page._thinned(points)
    assert len(thin) == 200
    assert thin[-1][0] == 999.0
    assert sum(value for _, value in thin) / len(thin) == pytest.approx(0.5)


def test_a_run_that_is_not_finished_has_no_page(finished, capfd):
    (finished / "result.json").unlink()
    assert report([str(finished)]) == 2
    assert "the run is not finished; give its command again" in capfd.readouterr().err
    assert report([str(finished), "--margin", "0.1"]) == 2
    assert "--margin: is of studies" in capfd.readouterr().err


# Sharing


def test_what_would_be_uploaded_is_a_model_that_can_be_used(finished, bert, tmp_path, cache, monkeypatch, capfd):
    monkeypatch.setenv("MTLFN_CACHE", str(cache))
    out = tmp_path / "dry"
    flags = ["--task", "ddi", "--to", "me/ddi", "--dry-run", str(out)]
    (finished / "export/ddi/notes.txt").write_text("mine")
    assert push([str(finished), *flags]) == 2  # the seal knows no such file
    assert push([str(finished / "export/ddi"), *flags]) == 2  # which is still in the run
    (finished / "export/ddi/notes.txt").unlink()
    assert push([str(finished), *flags]) == 0
    assert "Nothing was sent" in capfd.readouterr().out
    assert contents(out) == contents(finished / "export/ddi")
    rows = [{"text": "aspirin meets heparin", "head": [0, 7], "tail": [14, 21]}]
    assert mtlfn.load(out, backbone=str(bert))(rows) == mtlfn.load(finished, "ddi")(rows)
    assert push([str(out), "--to", "ddi", "--dry-run", str(tmp_path / "again")]) == 0  # an export alone
    assert contents(tmp_path / "again") == contents(out)


class Hub:
    """What the client of the Hub is asked for."""

    asked: tuple = ()

    def create_repo(self, name, **options):
        Hub.asked = ((name, options),)
        return SimpleNamespace(repo_id=name)

    def upload_folder(self, *, folder_path, allow_patterns, **options):
        Hub.asked += ((sorted(allow_patterns), Path(folder_path), options["repo_id"]),)
        return SimpleNamespace(commit_url="https://hub/commit")


def test_what_is_uploaded_is_what_the_dry_run_shows(finished, tmp_path, monkeypatch, capfd):
    monkeypatch.setattr(huggingface_hub, "HfApi", Hub)
    assert push([str(finished), "--task", "ddi", "--to", "me/ddi", "--dry-run", str(tmp_path / "dry")]) == 0
    assert Hub.asked == ()
    assert push([str(finished), "--task", "ddi", "--to", "me/ddi"]) == 0
    created, (files, folder, name) = Hub.asked
    assert created == ("me/ddi", {"private": True, "exist_ok": True})
    assert (files, folder, name) == (sorted(contents(tmp_path / "dry")), finished / "export/ddi", "me/ddi")
    assert push([str(finished), "--task", "ddi", "--to", "me/ddi", "--public"]) == 0
    assert Hub.asked[0][1]["private"] is False


def test_what_cannot_be_shared_is_told(finished, tmp_path, monkeypatch, capfd):
    def told(*flags: str) -> str:
        assert push([str(finished), "--task", "ddi", *flags]) == 2
        return " ".join(capfd.readouterr().err.split())

    assert "--to a/b/c: is no name of a repository" in told("--to", "a/b/c")
    assert "exists, and is not written over" in told("--to", "x", "--dry-run", str(finished))

    def refused(*_, **__):
        raise LocalTokenNotFoundError("no token")

    monkeypatch.setattr(huggingface_hub.HfApi, "create_repo", refused)
    assert "no one is logged in; call hf auth login" in told("--to", "x")
    with (finished / "export/ddi/README.md").open("a") as card:
        card.write("better than all others\n")
    assert "export/ddi/README.md" in told("--to", "x", "--dry-run", str(tmp_path / "dry"))
    assert not (tmp_path / "dry").exists()
