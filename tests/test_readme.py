"""What the README shows works: code runs, TOML is a configuration, flags and files exist."""

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from mtlfn.analysis import study
from mtlfn.data.embedded.draw import VERSION
from mtlfn.run.commands.command import main, parse
from mtlfn.run.preset import from_toml
from tests.models.families import FAMILIES
from tests.tiny import bert, cache, data, tiny_folder  # noqa: F401

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, flags=re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def trained(bert: Path, data: Path, cache: Path, tmp_path_factory) -> Path:  # noqa: F811
    """A folder with a finished run of the tasks that the examples name."""
    folder = tmp_path_factory.mktemp("readme")
    settings = {"backbone": bert, "data-dir": data, "cache-dir": cache, "tasks": "bc5cdr_disease,ddi"}
    settings |= {"output-dir": folder / "results/RUN", "budget-tokens": 500, "micro-batch-tokens": 64}
    flags = [part for name, value in settings.items() for part in (f"--{name}", str(value))]
    assert main("s3b", "A test.", [*flags, "--skip-smoke-test"]) == 0
    return folder


@pytest.mark.parametrize("code", blocks("python"))
def test_python_runs(code: str, trained: Path, cache: Path):  # noqa: F811
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "MTLFN_CACHE": str(cache)}
    subprocess.run([sys.executable, "-c", code], check=True, cwd=trained, env=environment)


@pytest.mark.parametrize("document", blocks("toml"))
def test_toml_is_a_configuration_or_a_study(document: str, tmp_path: Path):
    path = tmp_path / "my.toml"
    path.write_text(document)
    if "[run]" in document:
        made = study.read(path)
        assert made.run.budget_tokens == 150_000
        assert study.nodes(made)
        return
    config = from_toml(path)
    assert set(config.task) == set(tomllib.loads(document)["task"])
    assert config.tasks.split(",") == list(config.task)


def test_commands_parse():
    commands = [line for block in blocks("bash") for line in block.splitlines() if "scripts/s3b.sh" in line]
    assert len(commands) >= 3
    for line in commands:
        flags = line.partition("#")[0].split()[2:]
        if "--config" not in flags:
            assert not isinstance(parse("mtlfn.experiments.s3b", "", flags), int), line


def test_the_folder_of_the_embedded_corpus_is_that_of_today():
    assert set(re.findall(r"embedded-\d+", README)) == {f"embedded-{VERSION}"}


def test_every_flag_and_file_exists():
    code = re.findall(r"```[a-z]+\n.*?```|`[^`\n]+`", README, re.DOTALL)
    flags = set(re.findall(r"(?<![\w-])--[a-z][a-z0-9-]+", "\n".join(code)))
    assert flags >= {"--output-dir", "--max-steps", "--engine", "--strict", "--json", "--config"}
    known = "\n".join(path.read_text() for path in sorted((ROOT / "scripts").glob("*.*")))
    for arguments in (
        ["mtlfn.experiments.s3b"],
        ["mtlfn.experiments.s3a"],
        ["mtlfn.experiments.study"],
        ["mtlfn.experiments.token_controlled"],
        ["mtlfn.experiments.mimic_exclusion"],
        ["mtlfn.verdict"],
        ["mtlfn.replay"],
        ["mtlfn.predict"],
        ["mtlfn.data", "check"],
    ):
        command = [sys.executable, "-m", *arguments, "--help"]
        known += subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT).stdout
    assert not [flag for flag in sorted(flags) if not re.search(rf"{flag}(?![\w-])", known)]
    for path in re.findall(r"scripts/[a-z0-9_]+\.(?:sh|py)", README):
        assert (ROOT / path).is_file(), path


@pytest.mark.parametrize("path", sorted((ROOT / "experiments").glob("*.toml")), ids=lambda path: path.name)
def test_every_preset_is_a_configuration_or_a_study(path: Path):
    if path.name.startswith("study"):
        assert study.nodes(study.read(path))
    else:
        assert from_toml(path).tasks


NAMES = {
    "BERT": "bert",
    "RoBERTa": "roberta",
    "XLM-R": "xlm-roberta",
    "ELECTRA": "electra",
    "DistilBERT": "distilbert",
    "ModernBERT": "modernbert",
    "Megatron-BERT (GatorTron)": "megatron-bert",
    "MPNet": "mpnet",
    "DeBERTa": "deberta",
    "DeBERTa-v2": "deberta-v2",
    "DeBERTa-v3": "deberta-v3",
    "Gemma 2": "gemma2",
    "Gemma 3": "gemma3",
    "GPT-OSS": "gpt-oss",
    "GPT-NeoX (Pythia)": "gpt-neox",
    "Phi-3": "phi3",
}


def test_the_table_of_backbones_is_what_the_tests_prove():
    table = README.partition("| family | micro-batches |")[2].partition("\n\n")[0]
    told = {}
    for row in table.splitlines()[2:]:
        families, how, targets = (cell.strip() for cell in row.strip("|").split("|"))
        for name in families.split(", "):
            told[NAMES.get(name, name.lower())] = how, tuple(sorted(re.findall(r"`(\w+)`", targets)))
    how = {"ragged": "end to end", "padded": "one by one"}
    variants = {"bert-decoder", "llama-two-way", "gemma3-two-way"}
    assert told == {n: (how[f.way], f.targets) for n, f in FAMILIES.items() if n not in variants}


@pytest.mark.parametrize("name", ["CONTRIBUTING.md", "CHANGELOG.md"])
def test_what_other_documents_name_exists(name: str):
    text = (ROOT / name).read_text(encoding="utf-8")
    paths = set(re.findall(r"`((?:mtlfn|tests|scripts)/[\w/.]+)`", text))
    assert paths
    missing = [path for path in paths if not (ROOT / path).exists() and "KIND" not in path]
    assert not missing
