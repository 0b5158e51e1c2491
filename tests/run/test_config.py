"""A configuration is a preset under flags; what decides a run is in its identity, and nothing else is."""

from __future__ import annotations

from pathlib import Path

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtlfn.data.embedded import corpus as embedded
from mtlfn.data.example import DataError
from mtlfn.data.sources import resolve
from mtlfn.data.tables.mapping import Columns, Mapping
from mtlfn.models.backbone import BackboneError, load
from mtlfn.run.commands import options
from mtlfn.run.commands.command import main, parse
from mtlfn.run.commands.plan_command import mimic_exclusion
from mtlfn.run.config import NOT_IDENTITY, Config, Parent, digest, identity, micro_batch_slots, task_names
from mtlfn.run.errors import UsageError
from mtlfn.run.preset import from_table, from_toml


def write(folder: Path, text: str) -> Path:
    path = folder / "preset.toml"
    path.write_text(text, encoding="utf-8")
    return path


def parsed(*argv: object) -> Config:
    config = parse("s3b", "A test.", list(map(str, argv)))
    assert isinstance(config, Config)
    return config


def test_flags_override_the_preset_and_the_preset_the_defaults(tmp_path):
    path = write(
        tmp_path,
        'tasks = ["hoc", "ddi"]\nbudget_tokens = 77\nlearning_rate = 1\ndetach_level1 = true\n'
        'weighting = "uncertainty"\n',
    )
    for argv in (("--config", path), (f"--config={path}",)):
        config = parsed(*argv, "--budget-tokens", 88)
        assert (config.tasks, config.budget_tokens, config.learning_rate) == ("hoc,ddi", 88, 1.0)
        assert (config.detach_level1, config.weighting, config.seed) == (True, "uncertainty", Config().seed)
    assert parsed("--config", path, "--no-detach-level1").detach_level1 is False
    assert parsed("--budget-tokens", 5, "--config", path).budget_tokens == 5


def test_paths_in_a_preset_start_from_its_folder(tmp_path):
    config = from_toml(write(tmp_path, 'data_dir = "corpora"\noutput_dir = "/elsewhere"\n'))
    assert config.data_dir == tmp_path / "corpora"
    assert config.output_dir == Path("/elsewhere")


TASK = """[task.words]
source = "{}"
kind = "classification"
level = 2
labels = ["a", "b"]
columns = {{ text = "text", label = "label" }}
"""


@pytest.mark.parametrize("name", ["b", "b/c", "../b", "b.csv", "some/way/to/b"])
def test_what_is_not_beside_the_file_is_not_taken_from_the_working_directory(tmp_path, monkeypatch, name):
    (file := write(tmp_path, TASK.format(name))).rename(tmp_path / "mine.toml")
    working = tmp_path / "other/working"
    (working / name).mkdir(parents=True)
    monkeypatch.chdir(working)
    config = from_toml(file.with_name("mine.toml"))
    with pytest.raises(DataError, match=f"the (folder|file) {tmp_path}/{name} does not exist; correct source in"):
        resolve(["words"], None, config.task)
    (tmp_path / "mine.toml").write_text(f'backbone = "{name}"')
    with pytest.raises(BackboneError, match=f"--backbone {tmp_path}/{name}: no such folder"):
        load(from_toml(tmp_path / "mine.toml").backbone)


def test_hub_ids_words_and_home_stay_as_they_are_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "minilm").mkdir()
    for source, backbone in (("bigbio/ncbi_disease", "minilm"), ("imdb", "a/b-2.0"), ("~/mine", "~/mine")):
        config = from_toml(write(tmp_path, f'backbone = "{backbone}"\n{TASK.format(source)}'))
        assert (config.backbone, config.task["words"].source) == (backbone, source)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("unknown_key = 1", "unknown_key"),
        ('budget_tokens = "many"', "budget_tokens"),
        ("budget_tokens = 1.5", "budget_tokens"),
        ("budget_tokens = true", "budget_tokens"),
        ("tasks = 5", "tasks"),
        ('engine = "steam"', "engine"),
        ("backbone = [1]", "backbone"),
        ("x = [", "not valid TOML"),
        pytest.param("x = " + "9" * 5000, "not valid TOML", id="a number of 5,000 digits"),
        pytest.param(f"[run]\nx = [0x{'f' * 5000}]", "run.x is a number of 20000 bits", id="a number of 20,000 bits"),
        ('data_dir = "a\\u0000b"', "data_dir holds the character U+0000"),
        pytest.param("x = " + "[" * 5000, "not valid TOML", id="5,000 brackets"),
        ("[task.answers]\nsource = 3", "answers"),
        ("[task]\nanswers = 3", "answers"),
        ("budget_tokens = 0", "budget_tokens"),
        ('task = "x"', "task"),
    ],
)
def test_a_preset_that_is_wrong_is_refused_by_name(tmp_path, capsys, text, wanted):
    path = write(tmp_path, text)
    assert main("s3b", "A test.", ["--config", str(path)]) == 2
    message = capsys.readouterr().err
    assert message.startswith("mtlfn: ")
    assert wanted in message.replace(str(path), "")
    assert message.count("\n") == 1


def test_a_preset_that_is_not_there_or_not_text(tmp_path, capsys):
    for argv in (["--config", str(tmp_path / "none.toml")], ["--config", str(tmp_path)], ["--config"], ["--config="]):
        assert main("s3b", "A test.", argv) == 2
        assert capsys.readouterr().err.startswith("mtlfn: --config")
    (tmp_path / "latin.toml").write_bytes(b'backbone = "\xe9"')
    assert main("s3b", "A test.", ["--config", str(tmp_path / "latin.toml")]) == 2
    assert "not valid TOML" in capsys.readouterr().err


def test_help_ends_well_and_names_the_experiment(capsys):
    assert main("s3b", "What it does.", ["--help"]) == 0
    text = capsys.readouterr().out
    assert "What it does." in text
    assert "--budget-tokens" in text
    assert "--config" in text


MAPPING = Mapping(source="some/where", kind="tagging", level=1, labels=("X",), columns=Columns(tokens="a", tags="b"))
# Another valid value of every field.
OTHER = {
    "tasks": "hoc",
    "data_dir": Path("there"),
    "backbone": "other",
    "revision": "abc",
    "budget_tokens": 7,
    "schedule_tokens": 8,
    "max_epochs": 2,
    "patience": 9,
    "seed": 1,
    "seeds": 2,
    "output_dir": Path("out"),
    "cache_dir": Path("cache"),
    "weighting": "uncertainty",
    "sampling": "temperature",
    "temperature": 3.0,
    "micro_batches": 2,
    "micro_batch_tokens": 10,
    "max_length": 33,
    "gradients": "sum",
    "fusion": "gated",
    "engine": "loop",
    "detach_level1": True,
    "read_out_layer": 3,
    "lora_targets": "all-linear",
    "lora_dropout": 0.5,
    "lora_alpha_ratio": 1.0,
    "learning_rate": 0.5,
    "sigma_learning_rate": 0.5,
    "warmup_ratio": 0.5,
    "decay": "cosine",
    "weight_decay": 0.5,
    "clip_norm": 0.5,
    "max_steps": 3,
    "max_hours": 3.0,
    "accept_environment": True,
    "gradient_checkpointing": True,
    "precision": "bf16",
    "unpad": True,
    "tf32": True,
    "select": "best",
    "skip_smoke_test": True,
    "save_every_steps": 3,
    "quick_eval_examples": 3,
    "device": "cpu",
    "threads": 3,
    "parent": Parent(role="total", path="there", experiment="s3b", seed=0, identity="a", digest="b"),
    "held_out_tasks": "hoc",
    "shuffled_tasks": "ddi",
    "drawn_among": "ddi=40,hoc=60",
    "updates": 3,
    "trial": True,
    "task": {"answers": MAPPING},
}


@pytest.mark.parametrize("name", [a.name for a in attrs.fields(Config) if a.name != "frozen_slots"])
def test_a_field_is_in_the_identity_unless_it_cannot_change_a_bit(name):
    base, changed = Config(), attrs.evolve(Config(), **{name: OTHER[name]})
    assert getattr(base, name) != getattr(changed, name)
    same = identity(base, fact=1) == identity(changed, fact=1)
    assert same == (name in NOT_IDENTITY)


def test_frozen_slots_are_in_the_identity_of_a_run_that_has_a_parent_and_the_parents_place_is_not():
    base = Config(parent=OTHER["parent"])
    assert identity(base) != identity(attrs.evolve(base, frozen_slots=("shared",)))
    assert identity(base) == identity(attrs.evolve(base, parent=attrs.evolve(base.parent, path="elsewhere")))


def test_where_a_mapped_task_comes_from_is_not_identity_but_how_it_is_read_is():
    base = identity(Config(task={"answers": MAPPING}))
    for change, same in (
        ({"source": "else/where"}, True),
        ({"revision": "abc"}, True),
        ({"data_dir": "part"}, True),
        ({"level": 2}, False),
        ({"labels": ("Y",)}, False),
        ({"columns": Columns(tokens="a", tags="c")}, False),
    ):
        other = identity(Config(task={"answers": attrs.evolve(MAPPING, **change)}))
        assert (other == base) == same, change


def test_the_identity_holds_the_facts_and_its_digest_follows_it():
    one, other = identity(Config(), data="a"), identity(Config(), data="b")
    assert digest(one) != digest(other)
    assert digest(one) == digest(dict(reversed(one.items())))


def test_what_is_not_identity_is_where_and_how_a_run_is_watched():
    """Spelt out, so that nothing more leaves the identity unnoticed."""
    where = {"output_dir", "cache_dir", "data_dir", "device", "threads", "seeds", "backbone", "revision"}
    how = {"max_steps", "max_hours", "save_every_steps", "quick_eval_examples", "accept_environment", "skip_smoke_test"}
    assert where | how | {"held_out_tasks"} == NOT_IDENTITY  # this one decides the data, whose hashes are identity
    assert {a.name for a in attrs.fields(Config)} >= NOT_IDENTITY


def test_the_tasks_asked_for(tmp_path):
    assert task_names(Config()) == embedded.NAMES
    assert task_names(Config(tasks=" hoc, ddi ,")) == ("hoc", "ddi")
    assert task_names(Config(task={"answers": MAPPING})) == ("answers",)
    with pytest.raises(UsageError, match="--tasks"):
        task_names(Config(data_dir=tmp_path))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("budget_tokens", 0),
        ("schedule_tokens", 0),
        ("max_epochs", 0),
        ("patience", 0),
        ("temperature", 0.0),
        ("micro_batches", -1),
        ("max_length", 7),
        ("lora_dropout", 1.0),
        ("learning_rate", 0.0),
        ("warmup_ratio", 1.1),
        ("clip_norm", -0.1),
        ("max_steps", -1),
        ("save_every_steps", 0),
        ("threads", 0),
    ],
)
def test_values_out_of_range_are_refused_by_name(capsys, field, value):
    with pytest.raises(ValueError, match=field):
        attrs.evolve(Config(), **{field: value})
    assert main("s3b", "A test.", ["--" + field.replace("_", "-"), str(value)]) == 2
    assert field in capsys.readouterr().err.replace("-", "_")


@pytest.mark.parametrize(
    ("budget", "tasks", "slots"),
    [(1, 1, 128), (150_000, 5, 128), (300_000, 4, 256), (900_000, 4, 512), (10**9, 2, 512)],
)
def test_micro_batches_are_as_large_as_the_budget_has_steps_for(budget, tasks, slots):
    assert micro_batch_slots(budget, tasks) == slots


@given(st.integers(1, 10**9), st.integers(1, 50))
def test_no_default_size_of_micro_batches_leaves_a_run_fewer_than_150_steps(budget, tasks):
    slots = micro_batch_slots(budget, tasks)
    assert slots == 128 or budget / (slots * tasks) >= 150
    assert slots <= micro_batch_slots(2 * budget, tasks)


@pytest.mark.parametrize("name", ["n" * 250, "a/b", "..", "", "a\tb", "a\x1b[31mb"])
def test_a_task_that_no_file_can_be_called_after_is_refused_before_anything_is_read(tmp_path, name):
    named = [Config(tasks=f"hoc,{name}")] if name else []  # without, it is a comma too many
    for config in (*named, Config(task={name: None})):
        with pytest.raises(UsageError, match=r"^--tasks: the task name "):
            task_names(config)
    table = {"task": {name: {}}}
    with pytest.raises(UsageError, match=r"^--config x: the task name "):
        from_table(table, tmp_path / "x", "--config x")


@pytest.mark.parametrize("strategy", ["s1", "s2", "s3a"])
@pytest.mark.parametrize("flag", ["--read-out-layer 2", "--detach-level1"])
def test_what_only_levels_have_is_refused_by_strategies_without(strategy, flag, tmp_path, capsys):
    """Else it would stand in the record of a run that it changed nothing of."""
    folder = tmp_path / "run"
    asked = [*flag.split(), "--output-dir", str(folder), "--tasks", "ddi"]
    assert main(strategy, "A test.", asked) == 2
    said = f"{flag}: {strategy} has no levels; it means something for s3b only, leave it out"
    assert said in capsys.readouterr().err
    if strategy == "s3a":
        assert mimic_exclusion("A test.", ["--strategy", strategy, *asked]) == 2
        assert said in capsys.readouterr().err
    assert not folder.exists()
    options.check_levels("s3b", Config(read_out_layer=2, detach_level1=True))
