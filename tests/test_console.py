"""The one command: it opens every other one, says what it does not know, and shows options by topic."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import attrs
import pytest

import mtlfn.__main__ as console
from mtlfn.analysis import study
from mtlfn.analysis.completion import KINDS
from mtlfn.run.commands import options
from mtlfn.run.commands.command import again, door, main, parse, parse_with
from mtlfn.run.commands.plan_command import MimicExclusion
from mtlfn.run.config import Config
from mtlfn.run.errors import UsageError
from mtlfn.run.preset import from_toml, located, presets

ROOT = Path(__file__).parent.parent
COMMANDS = console.names()


def started(*argv: str, **more: object) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "100"}
    command = [sys.executable, "-m", "mtlfn", *argv]
    return subprocess.run(command, capture_output=True, text=True, env=environment, **more)  # type: ignore[call-overload]


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_its_module(name: str):
    assert find_spec(console.COMMANDS[name][0]) is not None


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_opens_and_calls_itself_by_its_name(name: str):
    ended = started(name, "--help")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.startswith(f"usage: python -m mtlfn {name}")


def test_the_overview_names_all_and_loads_nothing():
    code = "import sys; sys.argv = ['mtlfn']; from mtlfn.__main__ import main; main(); print(*sys.modules)"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT).stdout
    *said, modules = out.splitlines()
    assert [line.split()[0] for line in said if line.startswith("  ")] == COMMANDS
    assert not {"tyro", "torch", "attrs", "numpy"} & set(modules.split())


@pytest.mark.parametrize(("given", "near"), [("stdy", "study"), ("s3c", "s3b"), ("mimic_exclusio", "mimic-exclusion")])
def test_an_unknown_command_is_told_the_nearest(given: str, near: str):
    ended = started(given)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert f"did you mean {near}?" in ended.stderr
    assert ended.stderr.count("\n") == 1
    assert "expected one of s1, s2" in started("zzzzzz").stderr


def test_an_exit_code_is_that_of_the_command():
    assert started("verdict", "nowhere").returncode == 2
    assert started("token_controlled", "--match", "nowhere").returncode == 2  # the module's own spelling serves, too
    assert started("--version").stdout == f"mtlfn {__import__('mtlfn').__version__}\n"


def test_who_stops_a_command_while_it_loads_sees_no_stack(monkeypatch: pytest.MonkeyPatch, capsys):
    def stopped(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(console.runpy, "run_module", stopped)
    monkeypatch.setattr(sys, "argv", ["mtlfn", "verdict", "RUN"])
    assert console.main() == 130
    assert capsys.readouterr().err == "mtlfn verdict: stopped before it began\n"


def test_a_message_names_the_command_as_it_was_given(monkeypatch: pytest.MonkeyPatch):
    assert door("mtlfn.data check") == "python -m mtlfn.data check"
    assert again("s3b", ["--seed", "1"]) == ["python", "-m", "mtlfn.experiments.s3b", "--seed", "1"]
    monkeypatch.setattr(sys, "argv", ["mtlfn data"])
    assert door("mtlfn.data check") == "mtlfn data check"
    monkeypatch.setattr(sys, "argv", ["mtlfn s3b", "--seed", "1"])
    assert again("s3b", ["--seed", "1"]) == ["mtlfn", "s3b", "--seed", "1"]
    monkeypatch.setattr(sys, "argv", ["python -m mtlfn s3b"])
    assert again("s3b", ["--seed", "1"]) == ["python", "-m", "mtlfn", "s3b", "--seed", "1"]


def test_every_option_stands_in_one_group():
    names = [name for group in options.GROUPS.values() for name in group]
    assert sorted(names) == sorted(set(names))
    assert options.REST not in options.grouped()
    assert set(options.documents(Config)) >= set(names)


def test_help_shows_the_groups_and_config_first(capsys: pytest.CaptureFixture[str]):
    assert main("s3b", "A test.", ["--help"]) == 0
    said = capsys.readouterr().out
    places = [said.index(word) for word in ("--config FILE", *(f" {group} options " for group in options.GROUPS))]
    assert places == sorted(places)


def test_flags_change_their_field_alone_and_the_rest_is_that_of_the_preset():
    config = parse("mtlfn.experiments.s3b", "", ["--config", "preset:s3b-cpu", "--seed", "7", "--unpad"])
    assert config == attrs.evolve(from_toml(ROOT / "experiments/s3b-cpu.toml"), seed=7, unpad=True)
    given = ["--keep", "hoc", "--config=preset:s3b-cpu", "--threads", "3"]
    parsed = parse_with(MimicExclusion, "mtlfn.experiments.mimic_exclusion", "", given)
    assert not isinstance(parsed, int)
    own, run = parsed
    assert own == MimicExclusion(keep="hoc")
    assert run == attrs.evolve(from_toml(ROOT / "experiments/s3b-cpu.toml"), threads=3)


def test_one_file_of_settings_is_taken_and_a_second_is_not_passed_over():
    given = ["--config", "preset:s3b-cpu", "--seed", "7", "--config=preset:s3b-80gb"]
    said = r"^--config preset:s3b-80gb: is given beside --config preset:s3b-cpu, expected one file; .*flags$"
    with pytest.raises(UsageError, match=said):
        parse("mtlfn.experiments.s3b", "", given)
    with pytest.raises(UsageError, match=r"^--config: expected the path of a TOML file"):
        parse("mtlfn.experiments.s3b", "", ["--config"])


def test_presets_are_the_files_of_experiments():
    assert presets() == sorted(path.stem for path in (ROOT / "experiments").glob("*.toml"))
    for name in presets():
        path = Path(f"preset:{name}")
        assert located(path, "--config").read_bytes() == (ROOT / f"experiments/{name}.toml").read_bytes()
        assert study.read(path).run.tasks is not None if name.startswith("study") else from_toml(path).tasks


@pytest.mark.parametrize("name", ["s3b-cp", "", "../pyproject", "nothing like it"])
def test_an_unknown_preset_lists_them(name: str):
    with pytest.raises(UsageError, match=r"^--config preset:.*are s3b-80gb, s3b-cpu, s3b-kaggle-t4, study-"):
        from_toml(Path(f"preset:{name}"))


def test_every_command_that_is_there_completes_its_options():
    assert set(COMMANDS) == set(KINDS)


ASK = """
source "$1"; shift
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMP_LINE="$*"; COMP_POINT=${#COMP_LINE}
_tyro_mtlfn
printf '%s\\n' "${COMPREPLY[@]}"
"""


@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash")
def test_bash_completes_commands_options_and_choices(tmp_path: Path):
    script = tmp_path / "mtlfn.bash"
    script.write_text(started("completion", "bash").stdout)

    def completed(*words: str) -> set[str]:
        command = ["bash", "-c", ASK, "bash", str(script), *words]
        return set(subprocess.run(command, capture_output=True, text=True, check=True).stdout.split())

    assert completed("mtlfn", "s") == {"s1", "s2", "s3a", "s3b", "study"}
    assert completed("mtlfn", "s3b", "--budget") == {"--budget-tokens"}
    assert completed("mtlfn", "s3b", "--engine", "") == {"loop", "merged"}
    assert "--plan" in completed("mtlfn", "study", "--pl")


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_get_a_script_with_every_command(shell: str):
    said = started("completion", shell).stdout
    assert all(json.dumps(name) in said or name in said for name in COMMANDS)
