"""The notebook runs from top to bottom, in a kernel, as a reader would run it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.run import studies
from tests.tiny import bert, cache, make_data, tiny_folder  # noqa: F401

ROOT = Path(__file__).parent.parent
NOTEBOOK = ROOT / "notebooks/zero_to_verdict.py"
MISSING = [name for name in ("jupytext", "papermill", "ipykernel") if find_spec(name) is None]


def test_the_notebook_is_python_in_cells_that_begin_with_words():
    text = NOTEBOOK.read_text(encoding="utf-8")
    compile(text, str(NOTEBOOK), "exec")
    cells = text.split("\n# %%")[1:]
    assert sum(cell.startswith(" [markdown]") for cell in cells) >= 8
    assert sum('tags=["parameters"]' in cell for cell in cells) == 1


@pytest.mark.slow
@pytest.mark.skipif(bool(MISSING), reason=f'no {", ".join(MISSING)}: pip install "mtlfn[notebook]"')
def test_the_notebook_runs_from_top_to_bottom(bert: Path, cache: Path, tmp_path: Path):  # noqa: F811
    make_data(tmp_path / "studied", test=8)
    study = studies.write(tmp_path, {"data_dir": str(tmp_path / "studied"), "backbone": str(bert)})
    environment = os.environ | {
        "PYTHONPATH": str(ROOT),
        "MTLFN_CACHE": str(cache),
        "IPYTHONDIR": str(tmp_path / "ipython"),
    }
    given, done = tmp_path / "given.ipynb", tmp_path / "done.ipynb"
    made = [sys.executable, "-m", "jupytext", "--to", "ipynb", "--output", str(given), str(NOTEBOOK)]
    subprocess.run(made, check=True, capture_output=True, env=environment, cwd=tmp_path)
    run = [sys.executable, "-m", "papermill", str(given), str(done), "--cwd", str(tmp_path), "--no-progress-bar"]
    for name, value in {"study": study, "backbone": bert, "budget_tokens": 1000, "threads": 1}.items():
        run += ["-p", name, str(value)]
    ended = subprocess.run(run, env=environment, cwd=tmp_path, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr[-3000:]
    cells = json.loads(done.read_text(encoding="utf-8"))["cells"]
    outputs = [output for cell in cells for output in cell.get("outputs", [])]
    texts = [output.get("text") or output.get("data", {}).get("text/plain", "") for output in outputs]
    said = "".join("".join(text) for text in texts)
    assert "bc5cdr_disease: " in said
    assert '{"id": "2", "prediction": ' in said
    assert "'took quintol at night': [" in said
    pages = ["".join(output["data"]["text/html"]) for output in outputs if "text/html" in output.get("data", {})]
    assert any("<iframe" in page and "genuine transfer" in page for page in pages)
    assert (tmp_path / "study/report/report.html").is_file()
