"""The documents as a reader meets them: README.md and the pages of docs/, their examples, links and flags.

An example that cannot be run or checked has a line ``<!-- not run: WHY -->`` before it.
"""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from functools import cache
from pathlib import Path

from attrs import frozen

from mtlfn.__main__ import COMMANDS

ROOT = Path(__file__).parent.parent
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")))
LANGUAGES = {"", "bash", "csv", "json", "python", "text", "toml", "tsv", "xml", "yaml"}
# Commands of others, whose flags are not ours to check.
OTHERS = {"bash", "cd", "export", "jupytext", "kill", "mkdir", "nohup", "papermill", "pip", "sbatch", "source"}
OTHERS |= {"tensorboard", "touch", "unzip"}
OPTIONS = {"--comment", "--exclude"}  # of sbatch, as values of ours
MODULES = {module: name for name, (module, _) in COMMANDS.items()}
FLAG = re.compile(r"(?<![\w-])--[a-z][a-z0-9-]*")


@frozen
class Block:
    """A fenced example: where it stands, what it is, and why it is not run, where it is not."""

    place: str
    language: str
    code: str
    why_not: str | None


def blocks(text: str, place: str) -> list[Block]:
    """The fenced examples of a page."""
    pattern = r"(?:^<!--(?P<mark>[^\n]*)-->\n)?^```(?P<language>\w*)\n(?P<code>.*?)^```$"
    out = []
    for match in re.finditer(pattern, text, flags=re.MULTILINE | re.DOTALL):
        line = text.count("\n", 0, match.start("language")) + 1
        mark = match["mark"]
        why = None if mark is None else mark.strip().removeprefix("not run:").strip()
        out.append(Block(f"{place}:{line}", match["language"], match["code"], why))
    return out


def of(language: str) -> list[Block]:
    """The examples of a language on all pages that are to be checked."""
    every = (block for page in PAGES for block in blocks(page.read_text(encoding="utf-8"), str(page.relative_to(ROOT))))
    return [block for block in every if block.language == language and block.why_not is None]


def commands(code: str) -> list[list[str]]:
    """The commands of a block of bash, as words, without comments."""
    lines = code.replace("\\\n", " ").splitlines()
    return [words for line in lines if (words := shlex.split(line, comments=True))]


def door(words: list[str]) -> tuple[str, list[str]] | None:
    """Which command of ours is given, by its name, and its arguments; nothing where it is another's."""
    words = [word for i, word in enumerate(words) if "=" not in word or i > 0]  # less one variable before it
    if words[:1] == ["mtlfn"]:
        return (words[1], words[2:]) if len(words) > 1 else ("--help", [])
    if words[:2] == ["bash", "scripts/s3b.sh"]:
        return "s3b", words[2:]
    for i, word in enumerate(words[:-1]):
        if word == "-m" and words[i + 1] == "mtlfn":
            return words[i + 2], words[i + 3 :]
        if word == "-m" and words[i + 1] in MODULES:
            return MODULES[words[i + 1]], words[i + 2 :]
    return None


def problem(words: list[str]) -> str | None:
    """What is wrong with a command, as far as can be told without running it."""
    if (ours := door(words)) is not None:
        name, arguments = ours
        if name.startswith("-"):
            return None
        if name not in COMMANDS:
            return f"{name} is no command"
        given = [flag for word in arguments for flag in FLAG.findall(word.partition("=")[0])]
        unknown = [flag for flag in given if flag not in FLAG.findall(help_of(name, arguments))]
        return f"{name} has no {', '.join(unknown)}" if unknown else None
    script = next((word for word in words if word.startswith("scripts/")), None)
    if script is not None:
        path = ROOT / script
        if not path.is_file():
            return f"{script} does not exist"
        unknown = [flag for word in words for flag in FLAG.findall(word) if flag not in path.read_text()]
        return f"{script} has no {', '.join(unknown)}" if unknown else None
    words = [word for i, word in enumerate(words) if i or "=" not in word]  # less one variable before it
    if words[:3] == ["python", "-m", "pytest"]:
        away = [word for word in words[3:] if word.startswith("tests") and not (ROOT / word).exists()]
        return f"{away[0]} does not exist" if away else None
    return None if words[0] in OTHERS else f"what is {words[0]}? Mark the example as not run, or tell tests/pages.py"


def help_of(name: str, arguments: list[str]) -> str:
    """What --help says of a command; of one with commands of its own, of the one that is given."""
    own = arguments[0] if arguments and re.fullmatch("[a-z]+", arguments[0]) and name == "data" else ""
    return _help(name, own)


@cache
def _help(name: str, own: str) -> str:
    command = [sys.executable, "-m", COMMANDS[name][0], *([own] if own else []), "--help"]
    return subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT).stdout


def inline_flags(text: str) -> set[str]:
    """The flags that a page names in its sentences."""
    prose = re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
    spans = [span for span in re.findall(r"`([^`\n]+)`", prose) if span.split()[0] not in OTHERS]
    return set(FLAG.findall("\n".join(spans))) - OPTIONS


def links(text: str) -> list[str]:
    """The files that a page links to."""
    targets = re.findall(r"\]\(([^)\s]+)\)", re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL))
    return [target.partition("#")[0] for target in targets if not re.match(r"https?:|mailto:|#", target)]
