"""Configurations in TOML files; a wrong key or value is told by name."""

from __future__ import annotations

import difflib
import os
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args, get_origin

import attrs

from mtlfn.run.config import Config, check_names
from mtlfn.run.errors import UsageError

T = TypeVar("T")


PRESET = "preset:"
INTERNAL = {"parent", "frozen_slots", "held_out_tasks", "shuffled_tasks", "drawn_among", "updates", "trial"}


def presets() -> list[str]:
    """The names of the configurations that come with mtlfn."""
    return sorted(path.stem for path in _folder().glob("*.toml"))


def located(path: Path, flag: str) -> Path:
    """The file that ``preset:NAME`` names, or the path as it is; UsageError lists the presets."""
    name = str(path)
    if not name.startswith(PRESET):
        return path
    if (name := name.removeprefix(PRESET)) not in (known := presets()):
        close = difflib.get_close_matches(name, known, 1)
        hint = f"did you mean {PRESET}{close[0]}? There " if close else "there "
        raise UsageError(f"{flag} {PRESET}{name}: {hint}are {', '.join(known)}")
    return _folder() / f"{name}.toml"


def _folder() -> Path:
    """Where the presets lie: in the package where it is installed, beside it in a checkout."""
    package = Path(__file__).parent.parent
    return package / "presets" if (package / "presets").is_dir() else package.parent / "experiments"


def from_toml(path: Path) -> Config:
    """The configuration in a TOML file or of a preset; UsageError names a wrong key or value."""
    path = located(path, "--config")
    return from_table(read_toml(path, "--config"), path, f"--config {path}")


def read_toml(path: Path, flag: str) -> dict[str, Any]:
    """The table in a TOML file; UsageError names the flag and what is wrong."""
    import tomllib

    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"{flag} {path}: cannot be read ({error.strerror})") from None
    except (ValueError, RecursionError) as error:  # of TOML or of UTF-8; thousands of digits or of brackets
        raise UsageError(f"{flag} {path}: not valid TOML ({error})") from None
    if problem := _beyond(table):
        raise UsageError(f"{flag} {path}: {problem}")
    return table


def _beyond(value: Any, key: str = "") -> str | None:
    """What no setting can be: a number that TOML has not, text that no path can hold."""
    if isinstance(value, dict):
        parts = [(f"{key}.{name}" if key else name, each) for name, each in value.items()]
    elif isinstance(value, list):
        parts = [(key, each) for each in value]
    elif isinstance(value, int) and not -(2**63) <= value < 2**63:
        return f"{key} is a number of {value.bit_length()} bits, expected at most 64"
    elif isinstance(value, str) and "\0" in value:
        return f"{key} holds the character U+0000, expected none"
    else:
        return None
    return next((problem for name, each in parts if (problem := _beyond(each, name))), None)


def from_table(table: dict[str, Any], path: Path, place: str) -> Config:
    """The configuration in a table of the file ``path``; UsageError names ``place`` and a wrong key or value."""
    from mtlfn.data.tables.mapping import structure
    from mtlfn.data.tables.sources import HUB_ID, on_hub

    table = dict(table)
    if given := INTERNAL & table.keys():
        raise UsageError(f"{place}: {', '.join(sorted(given))} cannot be set; mtlfn's experiments do")
    tasks = table.pop("task", {})
    if not isinstance(tasks, dict):
        raise UsageError(f"{place}: task is {tasks!r}, expected tables [task.<name>]")
    if tasks:
        check_names(tuple(tasks), place)
    mappings = {name: structure(value, name) for name, value in tasks.items()}
    mappings = {name: attrs.evolve(m, source=_from(path.parent, m.source, on_hub(m))) for name, m in mappings.items()}
    backbone = table.get("backbone")
    if isinstance(backbone, str) and backbone not in ("", "minilm", "planted"):
        hub_id = HUB_ID.fullmatch(backbone) is not None and not backbone.endswith(".gguf")
        table["backbone"] = _from(path.parent, backbone, hub_id)
    if isinstance(table.get("tasks"), list):
        table["tasks"] = ",".join(map(str, table["tasks"]))
    return attrs.evolve(typed(table, Config, path, place), task=mappings)


def _from(folder: Path, name: str, hub_id: bool) -> str:
    """What a file in this folder names: a path from there or, where nothing lies there, the Hub id that it may be.

    What lies under that name in the working directory is never meant; a library would take it for the Hub id.
    """
    given = Path(os.path.expanduser(name))
    if given != Path(name) or (hub_id and not (folder / name).exists() and not given.exists()):
        return name
    return str((folder / name).absolute())


def typed(table: dict[str, Any], kind: type[T], path: Path, place: str) -> T:
    """A table as a value of a class; paths start from the folder of the file; UsageError as in ``from_table``."""
    import cattrs

    converter = cattrs.Converter(forbid_extra_keys=True)
    converter.register_structure_hook(Path, lambda value, _: path.parent / str(value))
    for simple in (int, float, str, bool):
        converter.register_structure_hook(simple, _strict)
    try:
        return converter.structure(table, kind)
    except cattrs.errors.ClassValidationError as error:
        problems = cattrs.transform_error(error, format_exception=_explain)
        raise UsageError(f"{place}: {'; '.join(problems)}") from None


def _explain(error: BaseException, kind: type | None) -> str:
    """What the check of a value says (it names the field); cattrs' own words otherwise."""
    import cattrs
    from cattrs.v import format_exception

    if isinstance(error, cattrs.ForbiddenExtraKeysError):
        allowed = [a.name for a in attrs.fields(error.cl)]
        close = [name for key in sorted(error.extra_fields) for name in difflib.get_close_matches(key, allowed, 1)]
        hint = f"did you mean {', '.join(close)}" if close else f"expected some of {', '.join(allowed)}"
        return f"unknown key {', '.join(sorted(error.extra_fields))}: {hint}"
    if allowed := get_args(kind) if get_origin(kind) is Literal else ():
        return f"expected one of {', '.join(map(str, allowed))}"
    return str(error.args[0]) if isinstance(error, ValueError) and error.args else format_exception(error, kind)


def _strict(value: Any, kind: type) -> Any:
    if type(value) is kind or (kind is float and type(value) is int):
        return kind(value)
    raise ValueError(f"expected {kind.__name__}, found {value!r}")
