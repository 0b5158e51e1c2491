"""What README.md and docs/ show works: code runs, TOML is a configuration, commands, flags and files exist."""

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from mtlfn.__main__ import names
from mtlfn.analysis import study
from mtlfn.data.embedded.draw import VERSION
from mtlfn.run.commands.command import main, parse
from mtlfn.run.preset import PRESET, from_toml, presets
from tests import pages
from tests.models.families import FAMILIES
from tests.pages import PAGES, ROOT
from tests.tiny import bert, cache, data, tiny_folder  # noqa: F401

README = (ROOT / "README.md").read_text(encoding="utf-8")
TEXTS = {str(page.relative_to(ROOT)): page.read_text(encoding="utf-8") for page in PAGES}
GENERATED = ("docs/reference/options.md", "docs/reference/python.md")  # by scripts/site.py


@pytest.fixture(scope="module")
def trained(bert: Path, data: Path, cache: Path, tmp_path_factory) -> Path:  # noqa: F811
    """A folder with a finished run of the tasks that the examples name."""
    folder = tmp_path_factory.mktemp("readme")
    settings = {"backbone": bert, "data-dir": data, "cache-dir": cache, "tasks": "bc5cdr_disease,ddi"}
    settings |= {"output-dir": folder / "results/RUN", "budget-tokens": 500, "micro-batch-tokens": 64}
    flags = [part for name, value in settings.items() for part in (f"--{name}", str(value))]
    assert main("s3b", "A test.", [*flags, "--skip-smoke-test"]) == 0
    return folder


@pytest.mark.parametrize("block", pages.of("python"), ids=lambda block: block.place)
def test_python_runs(block: pages.Block, trained: Path, cache: Path):  # noqa: F811
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "MTLFN_CACHE": str(cache)}
    subprocess.run([sys.executable, "-c", block.code], check=True, cwd=trained, env=environment)


@pytest.mark.parametrize("block", pages.of("toml"), ids=lambda block: block.place)
def test_toml_is_a_configuration_or_a_study(block: pages.Block, tmp_path: Path):
    path, table = tmp_path / "my.toml", tomllib.loads(block.code)
    path.write_text(block.code, encoding="utf-8")
    if "run" in table:
        read = study.read(path)
        assert study.nodes(read)
        config, table = read.run, table["run"]
    else:
        config = from_toml(path)
    assert config.budget_tokens == table.get("budget_tokens", config.budget_tokens)
    assert set(config.task) == set(table.get("task", {}))
    assert set(config.task) <= set(config.tasks.split(",") if config.tasks else config.task)


@pytest.mark.parametrize("block", pages.of("bash"), ids=lambda block: block.place)
def test_commands_are_understood(block: pages.Block):
    for words in pages.commands(block.code):
        assert pages.problem(words) is None, words
        name, flags = pages.door(words) or ("", [])
        preset = next((word.removeprefix(PRESET) for word in words if word.startswith(PRESET)), None)
        assert preset in {None, *presets()}, words
        if name in ("s2", "s3a", "s3b") and "--config" not in flags and "torchrun" not in words:
            assert not isinstance(parse("mtlfn.experiments.s3b", "", flags), int), words


@pytest.mark.parametrize("place", TEXTS)
def test_flags_files_and_links_exist(place: str):
    text = TEXTS[place]
    known = "\n".join(path.read_text() for path in sorted((ROOT / "scripts").glob("*.*")))
    known += "".join(pages.help_of(name, ["check"]) for name in names() if name != "completion")
    unknown = pages.inline_flags(text) - set(pages.FLAG.findall(known))
    assert not unknown
    for path in re.findall(r"(?<![\w/.-])(?:scripts|experiments|notebooks|mtlfn|tests)/[\w/-]+\.(?:sh|py|toml)", text):
        assert (ROOT / path).is_file(), path
    for link in pages.links(text):
        target = (ROOT / place).parent / link
        assert target.exists() or os.path.relpath(target, ROOT) in GENERATED, link


@pytest.mark.parametrize("place", TEXTS)
def test_a_page_has_a_title_and_says_why_an_example_is_not_run(place: str):
    text = TEXTS[place]
    titles = [line for line in re.sub(r"^```.*?^```$", "", text, flags=re.M | re.S).splitlines() if line[:2] == "# "]
    assert [text.splitlines()[0]] == titles
    assert text.count("\n```") % 2 == 0
    for block in pages.blocks(text, place):
        assert block.language in pages.LANGUAGES, block.place
        assert block.why_not is None or len(block.why_not) > 10, block.place


def test_what_is_wrong_on_a_page_is_seen():
    text = (
        "# A\n\n<!-- not run: needs a cluster -->\n```bash\nx\n```\n\n```bash\nmtlfn s3b \\\n  --bugdet 3  # no\n```\n"
    )
    marked, other = pages.blocks(text, "a.md")
    assert (marked.why_not, other.why_not, other.place) == ("needs a cluster", None, "a.md:8")
    assert [pages.problem(words) for words in pages.commands(other.code)] == ["s3b has no --bugdet"]
    assert pages.problem(["mtlfn", "s4"]) == "s4 is no command"
    assert pages.problem(["python", "scripts/none.py"]) == "scripts/none.py does not exist"
    assert pages.problem(["python", "scripts/bench_step.py", "--no-such"]) == "scripts/bench_step.py has no --no-such"
    assert pages.problem(["X=1", "python", "-m", "pytest", "tests/none"]) == "tests/none does not exist"
    assert "what is rm?" in str(pages.problem(["rm", "x"]))
    assert pages.problem(["mtlfn", "data", "check", "X", "--strict"]) is None
    torchrun = ["torchrun", "--nproc_per_node=2", "-m", "mtlfn.experiments.s3b", "--engine", "loop", "--none"]
    assert pages.problem(torchrun) == "s3b has no --none"
    assert pages.inline_flags("`--seed 3` and `pip --x`\n```bash\nmtlfn --y\n```\n") == {"--seed"}
    assert pages.links("[a](b.md#c) [d](https://e) ![f](g.png)") == ["b.md", "g.png"]


def test_the_readme_is_short_and_begins_with_the_two_commands():
    assert len(README.splitlines()) <= 150
    first = pages.commands(pages.blocks(README, "README.md")[1].code)
    assert first == [["bash", "scripts/s3b.sh"], ["bash", "scripts/test.sh"]]
    assert "`bash scripts/test.sh --slow`" in README


def test_the_folder_of_the_embedded_corpus_is_that_of_today():
    assert {name for text in TEXTS.values() for name in re.findall(r"embedded-\d+", text)} == {f"embedded-{VERSION}"}


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
    table = TEXTS["docs/backbones.md"].partition("| family | micro-batches |")[2].partition("\n\n")[0]
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
    missing = [
        path for path in paths if not (ROOT / path).exists() and not {"KIND", "NAME"} & set(re.split(r"[/.]", path))
    ]
    assert not missing
