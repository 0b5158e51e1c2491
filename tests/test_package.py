"""What is built is whole: the package, in an environment without the checkout, trains, compares and predicts."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import pytest

from mtlfn.run.preset import presets
from tests.run import studies
from tests.tiny import bert, cache, make_data, rows, tiny_folder  # noqa: F401

ROOT = Path(__file__).parent.parent
MISSING = [name for name in ("build", "hatchling", "twine") if find_spec(name) is None]
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(MISSING), reason=f'no {", ".join(MISSING)}: pip install "mtlfn[release]"'),
]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the source package and of the wheel that is built from it."""
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-P", "-m", "build", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    subprocess.run(command, check=True, capture_output=True, cwd=folder)
    return folder


@pytest.fixture(scope="module")
def installed(built: Path, cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable:  # noqa: F811
    """Runs the command ``mtlfn`` of an environment that has the wheel, and its libraries from this one."""
    folder = tmp_path_factory.mktemp("elsewhere")
    venv.create(folder / "env", with_pip=True)
    scripts = folder / "env/bin"
    (wheel,) = built.glob("*.whl")
    pip = [scripts / "python", "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", wheel]
    subprocess.run(pip, check=True, cwd=folder)
    own = sysconfig.get_path("purelib", vars={"base": str(folder / "env")})
    # A line of a .pth adds a folder, and does not read the .pth files in it: this project's own is not seen.
    libraries = [path for path in sys.path if path.endswith("site-packages")]
    Path(own, "libraries.pth").write_text("".join(f"{path}\n" for path in libraries))
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    environment |= {"MTLFN_CACHE": str(cache), "OMP_NUM_THREADS": "1", "COLUMNS": "100"}

    def run(*argv: object) -> str:
        command = [scripts / "mtlfn", *map(str, argv)]
        ended = subprocess.run(command, capture_output=True, text=True, cwd=folder, env=environment)
        assert ended.returncode == 0, ended.stdout + ended.stderr
        return ended.stdout

    where = "import mtlfn; print(mtlfn.__file__)"
    said = subprocess.run(
        [scripts / "python", "-c", where], capture_output=True, text=True, cwd=folder, env=environment
    )
    assert Path(said.stdout.strip()).is_relative_to(folder)
    run.folder = folder  # type: ignore[attr-defined]
    return run


def test_both_packages_pass_the_check_of_an_index(built: Path):
    files = list(map(str, built.iterdir()))
    assert len(files) == 2
    subprocess.run([sys.executable, "-m", "twine", "check", "--strict", *files], check=True)


def test_they_hold_all_that_is_tracked_and_nothing_else(built: Path):
    listed = subprocess.run(["git", "ls-files", "mtlfn"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("no git repository: what belongs to the project is not known")
    (wheel,), (source,) = built.glob("*.whl"), built.glob("*.tar.gz")
    tracked = {name for name in listed.stdout.split() if (ROOT / name).exists()}
    inside = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    assert inside == tracked | {f"mtlfn/presets/{name}.toml" for name in presets()}
    with tarfile.open(source) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert names >= tracked | {"README.md", "LICENSE", "CHANGELOG.md", "constraints.txt", "docs/index.md"}
    assert names >= {f"experiments/{name}.toml" for name in presets()}
    assert not {name for name in names if name.startswith(("results", ".venv", "build/"))}


def test_the_default_run_in_small(installed: Callable):
    said = installed("s3b", "--budget-tokens", 2000, "--skip-smoke-test", "--threads", 1)
    assert "semeval2014_t7" in said
    assert "digest " in said
    assert "to go on: python" not in said
    assert installed("s3b", "--help").startswith("usage: mtlfn s3b")


def test_a_preset_a_run_and_its_predictions(installed: Callable, bert: Path):  # noqa: F811
    folder: Path = installed.folder  # type: ignore[attr-defined]
    make_data(folder / "data")
    settings = {"data-dir": "data", "backbone": bert, "budget-tokens": 600, "max-length": 64, "output-dir": "run"}
    flags = [part for name, value in settings.items() for part in (f"--{name}", value)]
    installed("s3b", "--config", "preset:s3b-cpu", *flags, "--skip-smoke-test", "--threads", 1)
    new = folder / "new.jsonl"
    new.write_text("".join(json.dumps(row) + "\n" for row in rows("hoc", "new", 3)))
    installed("predict", "run", "--task", "hoc", "--input", new, "--output", "said.jsonl")
    lines = [json.loads(line) for line in (folder / "said.jsonl").read_text().splitlines()]
    assert [line["id"] for line in lines] == ["new0", "new1", "new2"]
    assert all("prediction" in line for line in lines)
    assert "every digest" in installed("replay", "--help")
    installed("replay", "run")


def test_a_study_in_small(installed: Callable, bert: Path):  # noqa: F811
    folder: Path = installed.folder  # type: ignore[attr-defined]
    make_data(folder / "data", test=8)
    path = studies.write(folder, {"data_dir": str(folder / "data"), "backbone": str(bert)})
    said = installed("study", path, "--output-dir", "study")
    assert "everything is in study/report" in " ".join(said.split())
    assert (folder / "study/report/report.html").is_file()
    assert "inconclusive" in installed("verdict", "study", "--output", "judged")
