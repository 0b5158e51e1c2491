"""The manual as a site: the pages of docs/, with the options and the Python interface as the code has them.

    python scripts/site.py [--output build/site]

Needs `pip install "mtlfn[docs]"`, and no network. A warning (a link that leads nowhere) is an error.
"""

from __future__ import annotations

import argparse
import inspect
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import attrs
import tyro

import mtlfn
from mtlfn.__main__ import COMMANDS, names
from mtlfn.analysis.completion import KINDS
from mtlfn.run.commands import options
from mtlfn.run.config import Config

ROOT = Path(__file__).parent.parent
# The pages in the order of reading. One that is not there is left out; one that is not named comes last.
SECTIONS = {
    "": ["index", "tutorial", "study-demo", "study-public"],
    "Data": ["own-data", "data-formats", "semeval"],
    "Models": ["backbones", "strategies", "large-models", "predict"],
    "Comparisons": ["comparison", "token-control", "nine-cells", "pcgrad"],
    "Running": ["stop-and-resume", "kaggle", "on-a-gpu", "many-runs", "several-processes", "slurm", "track"],
    "Evidence": ["exactness", "evidence", "speed"],
    "Reference": ["commands", "reference/options", "reference/python", "contributing", "changelog"],
}
FEATURES = ["content.code.copy", "navigation.footer", "navigation.sections", "navigation.top", "search.highlight"]
STYLE = "td code { white-space: nowrap; }\n"  # a flag stays on its line
RUNS = ("s1", "s2", "s3a", "s3b", "doctor", "mimic-exclusion")  # commands that take the options of a run


def sources(folder: Path) -> None:
    """Writes every page into a folder, and beside them what the site is made by."""
    shutil.copytree(ROOT / "docs", folder / "docs")
    (folder / "docs/reference").mkdir(exist_ok=True)
    pages = {"reference/options.md": "\n".join(option_lines()), "reference/python.md": "\n".join(python_lines())}
    pages |= {f"{name.lower()}.md": (ROOT / f"{name}.md").read_text() for name in ("CONTRIBUTING", "CHANGELOG")}
    for name, text in pages.items():
        (folder / "docs" / name).write_text(text.rstrip() + "\n", encoding="utf-8")
    (folder / "docs/site.css").write_text(STYLE, encoding="utf-8")
    settings = {
        "extra_css": ["site.css"],
        "site_name": "mtlfn",
        "site_description": "Token-controlled multi-task fine-tuning: exact to the token, repeatable to the bit",
        "use_directory_urls": False,  # pages can be read from a disk
        "nav": navigation(folder / "docs"),
        "theme": {"font": False, "features": FEATURES},  # no font is fetched
    }
    lines = [f"{key} = {_toml(value)}" for key, value in settings.items()]
    (folder / "zensical.toml").write_text("\n".join(["[project]", *lines]) + "\n", encoding="utf-8")


def navigation(docs: Path) -> list[Any]:
    """The pages that are there, by section."""
    there = {page.relative_to(docs).with_suffix("").as_posix() for page in docs.rglob("*.md")}
    rest = sorted(there - {name for section in SECTIONS.values() for name in section})
    out: list[Any] = []
    for title, section in {**SECTIONS, "More": rest}.items():
        pages = [f"{name}.md" for name in section if name in there]
        out += pages if not title else [{title: pages}] if pages else []
    return out


def _toml(value: Any) -> str:
    """A value as TOML, whose inline tables are all that differs from JSON here."""
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{json.dumps(key)} = {_toml(part)}" for key, part in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return json.dumps(value, ensure_ascii=False)


# The options


def option_lines() -> Iterator[str]:
    """The page of the options: those of a run once, then each command's own."""
    yield "# Options"
    yield "\nMade from the code. `mtlfn COMMAND --help` shows the same.\n"
    takers = ", ".join(f"`mtlfn {name}`" for name in RUNS)
    yield f"## Of a run\n\nTaken by {takers}, and written with underscores as keys"
    yield "of a file for `--config` and of `[run]` in a study. `--config FILE` or `--config preset:NAME` gives defaults"
    yield "that flags override."
    for group, members in options.grouped().items():
        yield f"\n### {group.capitalize()}\n"
        yield from _table(Config, members)
    for name in names():
        kind = KINDS.get(name)
        yield f"\n## mtlfn {name}\n\n{COMMANDS[name][1].capitalize()}.\n"
        if name in RUNS:
            yield "Takes the options of a run" + (", and:\n" if name == "mimic-exclusion" else ".")
        if name == "mimic-exclusion":
            from mtlfn.run.commands.plan_command import MimicExclusion as kind
        elif name in RUNS:
            continue
        if not attrs.has(kind) and kind is not None:  # a command of several
            for one in map(get_args, get_args(kind)):
                yield f"\n### mtlfn {name} {one[1].name}\n"
                yield from _table(one[0], [a.name for a in attrs.fields(one[0])])
        elif kind is None:
            command = [sys.executable, "-m", COMMANDS[name][0], "--help"]
            said = subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT).stdout
            yield f"```text\n{said.rstrip()}\n```"
        else:
            yield from _table(kind, [a.name for a in attrs.fields(kind)])


def _table(kind: type, members: list[str]) -> Iterator[str]:
    yield "| option | value | default | |"
    yield "| --- | --- | --- | --- |"
    yield from _rows(kind, members)


def _rows(kind: type, members: list[str]) -> Iterator[str]:
    hints, texts = get_type_hints(kind, include_extras=True), options.documents(kind)
    for a in (attrs.fields_dict(kind)[name] for name in members):
        hint, marks = hints[a.name], ()
        while get_origin(hint) is Annotated:
            marks, hint = (*marks, *hint.__metadata__), hint.__origin__
        if attrs.has(hint):
            yield from _rows(hint, [b.name for b in attrs.fields(hint)])
            continue
        renamed = next((mark.name for mark in marks if getattr(mark, "name", None)), None)
        flag = f"--{(renamed or a.name).replace('_', '-')}"
        flag = a.name.upper() if tyro.conf.Positional in marks else flag
        default = "" if a.default in (None, "", attrs.NOTHING, False) else f"`{a.default}`"
        text = texts.get(a.name, "").replace("|", "\\|").replace("<", "&lt;")
        yield f"| `{flag}` | {_value(hint)} | {default} | {text} |"


def _value(hint: Any) -> str:
    """What a flag takes, in words."""
    if hint is bool:
        return ""
    if get_origin(hint) is Literal:
        return ", ".join(f"`{choice}`" for choice in get_args(hint))
    if get_origin(hint) in (Union, UnionType):
        return ", ".join(_value(part) for part in get_args(hint) if part is not type(None))
    if get_origin(hint) is tuple:
        return f"{_value(get_args(hint)[0])} ..."
    return {int: "whole number", float: "number", str: "text", Path: "path"}.get(hint, "")


# The Python interface


def python_lines() -> Iterator[str]:
    """The page of the public names: how each is called, and what its docstring says."""
    yield "# Python\n"
    yield "Made from the code: the names to build on. Each is loaded when it is first asked for."
    for name in sorted(mtlfn.__all__, key=str.lower):
        thing = getattr(mtlfn, name)
        yield f"\n## mtlfn.{name}\n"
        if isinstance(thing, Mapping):
            yield "By name:"
            for key, function in thing.items():
                yield from _entry(f'mtlfn.{name}["{key}"]', function)
            continue
        yield f"```python\n{_signature(name, thing)}\n```\n"
        yield from _docstring(thing)
        if inspect.isclass(thing):
            for method, function in vars(thing).items():
                if not method.startswith("_") and inspect.isfunction(function) and function.__doc__:
                    yield from _entry(f"{name}.{method}", function)


def _entry(title: str, function: Callable[..., Any]) -> Iterator[str]:
    yield f"\n### {title}\n"
    yield f"```python\n{_signature(function.__name__, function)}\n```\n"
    yield from _docstring(function)


def _signature(name: str, thing: Any) -> str:
    signature = inspect.signature(thing)
    parts = [_parameter(each) for each in signature.parameters.values()]
    answer = "" if inspect.isclass(thing) else f" -> {signature.return_annotation}"
    flat = f"{name}({', '.join(parts)}){answer}"
    return flat if len(flat) <= 100 else f"{name}(\n" + "".join(f"    {part},\n" for part in parts) + f"){answer}"


def _parameter(parameter: inspect.Parameter) -> str:
    """A parameter as its module writes it; a function by its name, and "..." for what is made anew each time."""
    bare, default = parameter.replace(annotation=parameter.empty, default=parameter.empty), parameter.default
    annotated = str(bare) if parameter.annotation is parameter.empty else f"{bare}: {parameter.annotation}"
    if default is parameter.empty:
        return annotated
    shown = "..." if default is attrs.NOTHING else getattr(default, "__name__", repr(default))
    return f"{annotated} = {shown}"


def _docstring(thing: Any) -> Iterator[str]:
    """A docstring as Markdown: its sections become lists."""
    from griffe import Docstring, DocstringSectionKind

    for section in Docstring(inspect.getdoc(thing) or "").parse(
        "google", warnings=False, returns_multiple_items=False, returns_named_value=False
    ):
        if section.kind is DocstringSectionKind.text:
            yield section.value.replace("``", "`")
        elif isinstance(section.value, list):
            yield f"\n**{section.kind.value.capitalize()}**\n"
            for item in section.value:
                annotation = str(getattr(item, "annotation", "") or "").strip("`")
                label = getattr(item, "name", "") or annotation
                if label.endswith(","):  # several at once: the reader takes all but the first for its type
                    label = f"{label} {annotation}"
                text = " ".join(item.description.split()).replace("``", "`")
                yield f"- `{label}`: {text}" if label else f"- {text}"
            yield ""


def main() -> int:
    """Builds the site; returns the exit code of the builder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=ROOT / "build/site", help="folder of the site, replaced whole")
    output = parser.parse_args().output.resolve()
    if output.exists() and not (output / "index.html").is_file() and any(output.iterdir()):
        print(f"--output {output}: holds files that are no site; name another folder", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        sources(folder)
        command = [
            sys.executable,
            "-m",
            "zensical",
            "build",
            "--strict",
            "--config-file",
            str(folder / "zensical.toml"),
        ]
        try:
            built = subprocess.run(command, cwd=folder, check=False)
        except KeyboardInterrupt:
            return 130
        if built.returncode:
            return built.returncode
        shutil.rmtree(output, ignore_errors=True)
        shutil.copytree(folder / "site", output)
    print(f"the manual is {output / 'index.html'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
