"""The short table of a folder that scripts/gpu.sh wrote: what is to be reached, what was measured, what failed.

python scripts/gpu_table.py FOLDER      # prints it and writes FOLDER/table.md
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

Figures = Mapping[str, Any]
Row = tuple[str, str, str]  # what, reach, measured


def _step(figures: Figures) -> Iterator[tuple[str, str, str]]:
    for shape, found in figures.items():
        took = found["merged, pcgrad (s)"] * 1e3
        yield (
            f"PCGrad / fastest plain step, {shape}",
            "≤ 1.05",
            f"{found['merged, pcgrad (ratio)']:.2f} ({took:.1f} ms)",
        )


def _trainer(figures: Figures) -> Iterator[Row]:
    for name, value in figures["ratio"].items():
        if "grouped" in name:
            ours = figures["tokens/s"]["ours"]
            yield "tokens/s / Trainer, grouped", "≥ 1.3 MiniLM, ≥ 1.1 BERT", f"{value:.2f} ({ours:,.0f} tokens/s)"


def _torchjd(figures: Figures) -> Iterator[Row]:
    for shape, found in figures.items():
        yield f"PCGrad step / TorchJD, {shape}", "≤ 0.4", f"{found['ratio']['fastest mtl_backward']:.2f}"


def _floor(figures: Figures) -> Iterator[Row]:
    for shape, found in figures.items():
        yield f"step / bare products, {shape}", "", f"{found['ratio']:.2f}"


def _precision(figures: Figures) -> Iterator[Row]:
    for shape, found in figures.items():
        yield f"bf16 / fp32 tokens/s, {shape}", "", f"{found['bf16 / fp32']['step']:.2f}"


def _profile(figures: Figures) -> Iterator[Row]:
    for shape, found in figures.items():
        gaps = found.get("gaps (ms)", found.get("between operations (ms)", 0.0))
        count = found.get("launches", found.get("operations", 0.0))
        peak = f", peak {found['peak (MB)']:,.0f} MB" if "peak (MB)" in found else ""
        waits = sum(found["waits"].values())
        yield (
            f"one step, {shape}",
            "1 wait",
            f"{found['step (ms)']:.1f} ms, {count:,.0f} launches, gaps {gaps:.1f} ms, {waits} waits{peak}",
        )


def _memory(figures: Figures) -> Iterator[Row]:
    for name, found in figures.items():
        if not found:
            continue
        own = found.get("torch's own count / ours, one larger")
        yield (
            f"memory, {name}",
            "",
            f"{found['weights (GB)']:.1f} GB of weights, {found['step, a token (kB)']:,.0f} kB a token, "
            f"{found['tokens of a step that fit']:,} tokens fit" + (f"; torch counts {own:.2f} of it" if own else ""),
        )


def _data(result: Figures) -> Iterator[Row]:
    for task, found in result["scores"].items():
        yield f"{found['metric']} of {task}, dev", "", f"{found['dev']:.3f}"


READERS: Mapping[str, Callable[[Figures], Iterator[Row]]] = {
    "step": _step,
    "trainer": _trainer,
    "torchjd": _torchjd,
    "floor": _floor,
    "precision": _precision,
    "profile": _profile,
    "memory": _memory,
}


def rows(folder: Path) -> list[tuple[str, str, str, str]]:
    """(part, what, reach, measured) of every part that began, in its order."""
    out = []
    for line in (folder / "parts.tsv").read_text().splitlines():
        name, said, seconds = line.split("\t")
        found = _figures(folder, name)
        out += [(name, *row) for row in found]
        if said != "ok" or not found or name == "data":
            out.append((name, _last_line(folder / f"{name}.log") if said == "ok" else said, "", f"{seconds} s"))
    return out


def _figures(folder: Path, name: str) -> list[Row]:
    """What a part has measured, or had when it was stopped; nothing where it wrote no file or another than is known."""
    reader = _data if name == "data" else READERS.get(name.partition("-")[0])
    path = folder / ("run/result.json" if name == "data" else f"{name}.json")
    if reader is None or not path.exists():
        return []
    try:
        document = json.loads(path.read_text())
        return list(reader(document if name == "data" else document["figures"]))
    except (ValueError, LookupError) as error:
        return [(f"{path.name} cannot be read: {error!r}", "", "")]


def _last_line(path: Path) -> str:
    lines = [line.strip() for line in path.read_text(errors="replace").splitlines() if line.strip()]
    return lines[-1].strip("= ") if lines else ""


def machine(folder: Path) -> str:
    """What computed, as the first JSON file says."""
    for path in sorted(folder.glob("*-*.json")):
        about = json.loads(path.read_bytes())["machine"]
        return ", ".join(f"{name} {value}" for name, value in about.items())
    return "unknown: no benchmark came to its end"


def table(folder: Path) -> str:
    """The table in Markdown."""
    lines = [f"Machine: {machine(folder)}", "", "| part | what | reach | measured |", "| --- | --- | --- | --- |"]
    lines += ["| " + " | ".join(cell.replace("|", "/") for cell in row) + " |" for row in rows(folder)]
    return "\n".join(lines) + "\n"


def main(argv: Sequence[str] | None = None) -> None:
    (folder,) = map(Path, sys.argv[1:] if argv is None else argv)
    text = table(folder)
    (folder / "table.md").write_text(text)
    print(text, end="")


if __name__ == "__main__":
    main()
