"""By which rule runs are judged: the one that their study declared before anything was seen, or another that is asked
for.

Runs are of the study in whose folder they lie, whatever folder was named to find them: each study is held to its own
declaration, also where several are judged together.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from attrs import field, frozen

from mtlfn.analysis import looks
from mtlfn.analysis.runs import cells, settings
from mtlfn.run.errors import UsageError

NAMES = ("margin", "alpha", "draws")


@frozen(kw_only=True)
class Declared:
    """What a study fixed before anything was seen, as ``study.json`` of its folder says.

    Attributes:
        fixed: margin, alpha and draws.
        looks: numbers of seeds at which it is looked at; the level is spent over them.
        first_seed: a look at n seeds is at this one and the n - 1 after it.
        late: how many of its runs were finished when it was declared.
        taken: the looks on record, oldest first.
        controls: kinds of S1 runs that it has beside every multi-task run.
        strategy, plain, rates, run: of the multi-task runs: strategy, what plain S1 has in common with them, the
            learning rates to choose from (none: that of ``run``), and all other settings.
    """

    folder: Path
    fixed: Mapping[str, float]
    looks: tuple[int, ...]
    first_seed: int
    late: int
    taken: tuple[Mapping[str, Any], ...]
    controls: tuple[str, ...]
    strategy: str
    plain: str
    rates: tuple[float, ...]
    run: Mapping[str, Any]


@frozen(kw_only=True)
class Rule:
    """How a verdict is given.

    Attributes:
        margin: differences within it count as none, in the unit of the metrics.
        alpha: level of the tests; Holm's correction runs over the tasks.
        draws: replicates of the bootstrap.
        declared: of each study among the runs, in their order; None for runs of no study. Empty: none is of any.
    """

    margin: float = 0.01
    alpha: float = 0.05
    draws: int = 10_000
    declared: tuple[Declared | None, ...] = field(default=())

    def of(self, number: int) -> Declared | None:
        """What the study at this place declared."""
        return self.declared[number] if number < len(self.declared) else None

    def level(self, number: int, seeds: int) -> float:
        """What a look at so many seeds of the study at this place may spend."""
        declared = self.of(number)
        return looks.level(declared.looks if declared else (), self.alpha, seeds)


def read(document: Mapping[str, Any], folder: Path) -> Declared:
    """The declaration in a ``study.json``."""
    return Declared(
        folder=folder.resolve(),
        fixed={name: document[name] for name in NAMES},
        looks=tuple(document["looks"]),
        first_seed=document["run"].get("seed", 0),
        late=document.get(looks.LATE, 0),
        taken=tuple(document.get(looks.TAKEN, ())),
        controls=tuple(document.get("controls", cells.CONTROLS)),
        strategy=document["strategy"],
        plain=document.get("plain", "tokens"),
        rates=tuple(document.get("learning_rates", ())),
        run=document["run"],
    )


def folder_of(run: Path) -> Path | None:
    """The folder of the study that a run lies in: the nearest one with a ``study.json``."""
    return next((at for at in (run, *run.resolve().parents) if (at / looks.DOCUMENT).is_file()), None)


def folders(study: cells.Study) -> tuple[Path, ...]:
    """Those that its multi-task runs lie in."""
    return tuple(dict.fromkeys(at for run in study.multi.values() if (at := folder_of(run.path)) is not None))


def rule(asked: Mapping[str, Any], runs: cells.Found, last: Mapping[str, float] | None = None) -> Rule:
    """The rule of a verdict on these runs: as asked for, else as their study fixed it, else ``last``, else the default.

    ``asked``: margin, alpha and draws, each None where it was not asked for. UsageError where the runs are of studies
    that fixed another one each and it was not asked for.
    """
    given = {name: value for name in NAMES if (value := asked.get(name)) is not None}
    around = [folders(study) for study in runs.studies]
    found = {at: read(document, at) for of in around for at in of if (document := looks.recorded(at)) is not None}
    fixed = [each.fixed for each in found.values()]
    for name in (name for name in NAMES if name not in given):
        if len({each[name] for each in fixed}) > 1:
            values = " and ".join(f"{each.fixed[name]:g} in {at}" for at, each in found.items())
            raise UsageError(f"RUN: the studies fixed other rules: {name} {values}; give --{name}")
    of_study = fixed[0] if fixed else (last or {})
    return Rule(
        **{**of_study, **given},
        declared=tuple(_one(study, [found[at] for at in of]) for study, of in zip(runs.studies, around, strict=True)),
    )


def of_study(declared: Declared, runs: cells.Found) -> Rule:
    """The rule of the study itself, at whose folder ``runs`` were found."""
    own = rule(declared.fixed, runs).declared
    fixed: Mapping[str, Any] = declared.fixed
    return Rule(**fixed, declared=tuple(each or declared for each in own))


def _one(study: cells.Study, found: Sequence[Declared]) -> Declared | None:
    """The declaration, where it is that of all the multi-task runs."""
    whole = all(folder_of(run.path) is not None for run in study.multi.values())
    return found[0] if len(found) == 1 and whole else None


def exploratory(study: cells.Study, rule: Rule, number: int = 0) -> list[str]:
    """Why a verdict is not the one that the study declared before anything was seen; empty where it is.

    ``number``: the place of the study among those that are judged.
    """
    declared = rule.of(number)
    if declared is None:
        return ["no study fixed the margin and the number of seeds beforehand", *_rates(study, ())]
    why = departures({name: getattr(rule, name) for name in NAMES}, declared.fixed)
    if declared.late:
        why.append(f"it was declared when {declared.late} of its runs were finished")
    why += settings.departures(study.multi.values(), declared.run, declared.strategy, declared.rates)
    plain = {run.match.control for (control, *_), run in study.controls.items() if control == cells.PLAIN and run.match}
    if plain and study.plain != declared.plain:
        why.append(f"plain S1 is matched by {study.plain} where the study declared {declared.plain}")
    why += _rates(study, declared.rates)
    if elsewhere := [str(run.path) for run in study.controls.values() if not _inside(run.path, declared.folder)]:
        why.append(f"{_are(len(elsewhere))} not in the study's folder, such as {elsewhere[0]}")
    seeds = list(study.multi)
    if seeds != list(range(declared.first_seed, declared.first_seed + len(seeds))) or len(seeds) not in declared.looks:
        last = [declared.first_seed + n - 1 for n in declared.looks]
        said = " or ".join(f"{declared.first_seed} to {end}" for end in last) or "none"
        why.append(f"seeds {', '.join(map(str, seeds))} where the study declared {said}")
    declared_sides = {cells.CONTROLS[control] for control in declared.controls}
    if missing := [each for each in study.missing if each.side in {*declared_sides, cells.MULTI}]:
        why.append(f"{_are(len(missing))} missing, so that not every side has every seed")
    controls = [run for (control, *_), run in study.controls.items() if control in cells.CONTROLS]
    tested = {run.digest for run in (*study.multi.values(), *controls)}
    if looks.other_runs(declared.taken, seeds, tested, digests(study)):
        why.append("other runs of these seeds were looked at before, and such a look is paid for once")
    return why


def digests(study: cells.Study) -> set[str]:
    """Of all runs that a verdict rests on."""
    return {run.digest for run in (*study.multi.values(), *study.controls.values(), *study.trials)}


def _inside(run: Path, folder: Path) -> bool:
    return folder in (run.resolve(), *run.resolve().parents)


def _are(runs: int) -> str:
    return "1 run is" if runs == 1 else f"{runs} runs are"


def _rates(study: cells.Study, rates: Sequence[float]) -> list[str]:
    """Controls whose learning rate is not that of their multi-task run, where no trials chose it for their side."""
    chosen = bool(rates or study.trials)
    out: dict[str, None] = {}
    for (control, task, seed), run in study.controls.items():
        if control in cells.CONTROLS and chosen:
            here = run.setting(settings.RATE)
            if rates and here is not None and here not in rates:
                out[f"learning_rate {here:g} of {cells.CONTROLS[control]} of {task}, where the study chooses from "
                    f"{', '.join(f'{rate:g}' for rate in rates)}"] = None  # fmt: skip
        elif said := settings.apart(run, study.multi[seed]):
            out[f"{cells.CONTROLS.get(control, control)} of {task} has {said} of the multi-task run"] = None
    return list(out)


def departures(rule: Mapping[str, Any], fixed: Mapping[str, float] | None) -> list[str]:
    """What of a rule is not as the study fixed it, in words."""
    return [f"{name} {rule[name]:g} where the study fixed {value:g}" for name, value in (fixed or {}).items()
            if rule[name] != value]  # fmt: skip


def remember(runs: cells.Found, document: Mapping[str, Any]) -> None:
    """Puts a look at runs on record in the folder of each study that they are of, before its verdict is told."""
    own: dict[Path, list[int]] = {}
    for number, study in enumerate(runs.studies):
        for folder in folders(study):
            own.setdefault(folder, []).append(number)
    for folder, numbers in own.items():
        of = [runs.studies[number] for number in numbers]
        used = {run.path for study in of for run in (*study.multi.values(), *study.controls.values(), *study.trials)}
        part = {
            **document,
            "studies": [document["studies"][number] for number in numbers],
            "runs": [run for run in document["runs"] if Path(run["path"]) in used],
        }
        looks.record(folder, part)
