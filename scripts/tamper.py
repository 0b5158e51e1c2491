"""Change one file, anywhere: a finished study of a tiny model, each of its files harmed in every way, one at a time.

Ways: a bit flipped, cut short, emptied, swapped with the same file of the other seed, deleted; and forged: another
number, and every hash that stands above it made to fit, up to the last line of the ledger. Each time `verdict` and
`report` look at the study, and `replay --all` at the run. What they may say: that something is wrong, with the name of
the file; or, of a file that they take nothing from, exactly what they said before. A forged run is a consistent one,
so that `verdict` and `report` see it only where a score and its statistics differ; `replay --all` must see it.

    python scripts/tamper.py [--runs seed-0/multi,…] [--replay seed-0/multi] [--only NAME]

Without options: every file of every run for verdict and report, every file of one run for `replay --all`.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from mtlfn.analysis import command as analysis  # noqa: E402
from mtlfn.run import documents  # noqa: E402
from mtlfn.run.commands import command  # noqa: E402
from mtlfn.run.storage import ledger  # noqa: E402
from tests.harm import delete, empty, flip, reseal, truncate  # noqa: E402

STUDY = """
strategy = "s2"
seeds = 2
margin = 0.02
draws = 1000

[run]
tasks = "bc5cdr_disease,ddi"
budget_tokens = 400
micro_batch_tokens = 64
max_length = 64
threads = 1
quick_eval_examples = 6
skip_smoke_test = true
"""
# What a run leaves that no claim is made from.
SILENT = ("train.log", "lock", "evaluation", documents.RESUMES)


def swap(path: Path, root: Path) -> None:
    name = path.relative_to(root).as_posix()
    other = root / (name.replace("seed-0", "seed-1") if "seed-0" in name else name.replace("seed-1", "seed-0"))
    if other.is_file():
        path.write_bytes(other.read_bytes())


def forge(path: Path, root: Path) -> None:
    """Another content that is as well formed as the one before, sealed again as far up as there is a seal."""
    if path.suffix == ".json":
        document = json.loads(path.read_text())
        sealed = document.pop(documents.SEAL, None) is not None if isinstance(document, dict) else False
        changed = _other(document)
        if sealed:
            documents.write(path, changed)
        else:
            path.write_text(json.dumps(changed) + "\n")
    elif path.suffix == ".jsonl" and path.name != documents.LEDGER:
        first, _, rest = path.read_text().partition("\n")
        changed = _other({k: v for k, v in json.loads(first).items() if k != "check"})
        if path.name == documents.METRICS:
            from mtlfn.run.storage import record

            path.write_text("")
            record.append(path, changed)
            path.write_text(path.read_text() + rest)
        else:
            path.write_text(json.dumps(changed) + "\n" + rest)
    else:
        flip(path, root)
    run = next((p for p in path.parents if (p / documents.LEDGER).is_file()), None)
    if run is not None and path.name != documents.LEDGER:
        with contextlib.suppress(ledger.Broken):  # no ledger follows from another config.json
            reseal(run)


def _other(value: Any) -> Any:
    """The first number or word in it is another one."""
    if isinstance(value, dict | list):
        pairs = list(value.items() if isinstance(value, dict) else enumerate(value))
        for key, held in pairs:
            if key not in ("id", "unit", "step") and (other := _other(held)) != held:
                changed = dict(value) if isinstance(value, dict) else list(value)
                changed[key] = other
                return changed
        return value
    if isinstance(value, bool):
        return not value
    if isinstance(value, int | float):
        return value + 1 if isinstance(value, int) else value * 0.5 + 0.25
    return f"{value}x" if isinstance(value, str) else value


HARMS: tuple[Callable[[Path, Path], None], ...] = (flip, truncate, empty, swap, delete, forge)


def call(function: Callable[..., Any], *argv: object) -> tuple[int, str]:
    """The exit code of a command and all that it printed; -1 and the error where it ends in one."""
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        try:
            code = function([str(a) for a in argv])
        except SystemExit as ended:
            code = ended.code
        except Exception as error:  # what this script looks for is exactly what nobody expected
            return -1, f"{type(error).__name__}: {error}"
    return int(code or 0), said.getvalue()


def judged(root: Path, scratch: Path) -> tuple[str, str]:
    """What verdict and report say of a study: "refused …", or their documents."""
    out = []
    for function, name in ((analysis.verdict, "verdict.json"), (analysis.report, "report.md")):
        shutil.rmtree(scratch, ignore_errors=True)
        code, said = call(function, root, "--output", scratch)
        # verdict ends with 1 where a study is not complete; what it wrote is what it says.
        held = (scratch / name).read_text() if (scratch / name).is_file() else ""
        out.append(held if code in (0, 1) and held else f"refused {code}: {said}")
    return out[0], out[1]


@contextlib.contextmanager
def harmed(path: Path, run: Path, harm: Callable[[Path, Path], None], root: Path) -> Iterator[bool]:
    """The file, harmed as long as the block runs; whether anything changed."""
    beside = {
        path,
        run / documents.RESULT,
        run / documents.LEDGER,
        root / "study.json",
    }  # what is looked at goes on record
    touched = {p: p.read_bytes() for p in beside if p.is_file()}
    whole = path.read_bytes()
    try:
        harm(path, root)
        yield not path.is_file() or path.read_bytes() != whole
    finally:
        for p, data in touched.items():
            p.parent.mkdir(parents=True, exist_ok=True)
            p.write_bytes(data)


def files(folder: Path, root: Path) -> list[Path]:
    return sorted(p for p in folder.rglob("*") if p.is_file() and p.name not in SILENT and p != root / "study.toml")


def sweep(root: Path, asked: argparse.Namespace) -> Counter[str]:
    """Prints what was accepted that should not have been; counts of what was tried, refused, of no effect, wrong."""
    counts: Counter[str] = Counter()
    scratch = root.parent / "judged"
    judged(root, scratch)  # a report tells of the looks before it
    honest = judged(root, scratch)
    runs = [p.parent for p in sorted(root.rglob(documents.RESULT))]
    wanted = asked.runs.split(",") if asked.runs else None
    singles = [p for p in root.iterdir() if p.is_file()]
    targets = [(run, path) for run in runs for path in files(run, root)] + [(root, path) for path in singles]
    for run, path in targets:
        name = path.relative_to(root).as_posix()
        checkpoint = "checkpoints" in path.parts  # verdict and report take nothing from them
        if checkpoint or (wanted and run.relative_to(root).as_posix() not in wanted) or asked.only not in name:
            continue
        for harm in HARMS:
            with harmed(path, run, harm, root) as changed:
                if not changed:
                    continue
                for judge, before, said in zip(("verdict", "report"), honest, judged(root, scratch), strict=True):
                    kind = f"{judge} {'forged' if harm is forge else 'harmed'}"
                    counts[f"{kind}: tried"] += 1
                    if said == before:
                        counts[f"{kind}: said as before"] += 1
                        deleted_export = harm is delete and "export" in path.parts  # for their size; nothing is taken
                        if harm is not forge and path.name != "replay.json" and not deleted_export:
                            _wrong(counts, kind, harm, name, "accepted")
                    elif not said.startswith("refused"):
                        # An unfinished run is left out and named, and without a declaration all is exploratory;
                        # nothing else may change what is said.
                        undeclared = path.name == "study.json" and "no study fixed the margin" in said
                        named = undeclared or (path.name == documents.RESULT and run.name in said)
                        counts[f"{kind}: left out and named" if named else f"{kind}: said otherwise"] += 1
                        if not named and harm is not forge:
                            _wrong(counts, kind, harm, name, "said otherwise")
                    elif said.startswith("refused -1") or (harm is not forge and path.name not in said):
                        _wrong(counts, kind, harm, name, said.strip()[-200:])
                    else:
                        counts[f"{kind}: refused"] += 1
    run = root / asked.replay
    code, said = call(command.replay, run, "--all")
    if code != 0:
        raise SystemExit(f"replay --all of the honest run ended with {code}: {said[-500:]}")
    for path in files(run, root):
        name = path.relative_to(root).as_posix()
        if asked.only not in name or path.name == "replay.json":
            continue
        for harm in HARMS:
            with harmed(path, run, harm, root) as changed:
                if not changed:
                    continue
                kind = f"replay --all {'forged' if harm is forge else 'harmed'}"
                counts[f"{kind}: tried"] += 1
                code, said = call(command.replay, run, "--all")
                named = path.parent.name if "checkpoints" in path.parts else path.name
                if code in (2, 4) and (named in said or harm is forge):
                    counts[f"{kind}: refused"] += 1
                elif code == 0 and path.name == documents.ENVIRONMENT and harm is forge:
                    counts["replay --all forged: where it ran, which nothing proves"] += 1
                elif code == 0 and harm is delete and "export" in path.parts:
                    counts[f"{kind}: exports that are away, said"] += "of exports are away" in said
                else:
                    _wrong(counts, kind, harm, name, f"{code}: {said.strip()[-200:]}")
    return counts


def _wrong(counts: Counter[str], kind: str, harm: Callable[..., None], name: str, why: str) -> None:
    counts["WRONG"] += 1
    print(f"WRONG     {kind}: {name} ({harm.__name__}): {why}", flush=True)


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", default="", help="only the files of these, comma-separated (default: all)")
    parser.add_argument("--replay", default="seed-0/multi", help="the run that is replayed")
    parser.add_argument("--only", default="", help="only files with this in their path")
    asked = parser.parse_args(argv)
    from tests import tiny

    with tempfile.TemporaryDirectory(prefix="mtlfn-tamper-") as scratch:
        folder = Path(scratch)
        backbone, data = tiny.make_bert(folder / "tiny-bert"), tiny.make_data(folder / "data", test=12)
        places = f'backbone = "{backbone}"\ndata_dir = "{data}"\ncache_dir = "{folder / "cache"}"\n'
        (folder / "study.toml").write_text(STUDY + places)
        root = folder / "study"
        code, said = call(lambda argv: analysis.study("A study.", argv), folder / "study.toml", "--output-dir", root)
        if code != 0:
            raise SystemExit(f"the study ended with {code}:\n{said[-2000:]}")
        shutil.rmtree(root / "report")
        counts = sweep(root, asked)
    for name, count in sorted(counts.items()):
        print(f"{name:<45} {count:>6,}")
    return 1 if counts["WRONG"] else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
