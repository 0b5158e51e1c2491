"""The report's answers: the verdict in plain words, the differences, learning curves, the exclusion control."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mtlfn.analysis import outcome
from mtlfn.analysis.reporting import figures
from mtlfn.analysis.reporting.blocks import Block, Cell, Figures, Items, Missing, Section, Table, Text
from mtlfn.analysis.runs import cells
from mtlfn.analysis.runs.records import Runs
from mtlfn.analysis.statistics import learnt, planning, verdict
from mtlfn.run.storage.run_record import RunRecord

SIGNS = {
    verdict.GENUINE: "▲",
    verdict.EXPOSURE: "◆",
    verdict.NO_EFFECT: "=",
    verdict.NEGATIVE: "▼",
    verdict.OVER_TRAINED: "△",
    verdict.OWN_SHARE: "▽",
    verdict.DILUTION: "◇",
    verdict.HELPS_LESS: "◈",
    verdict.NOT_LEARNT: "∅",
    verdict.INCONCLUSIVE: "?",
}
MISSING = Cell("missing", "missing")
# What plain S1 has in common with the multi-task run, as columns call it.
PLAIN = {"tokens": "as many tokens of the task", "updates": "as many optimiser updates"}
BY_UPDATES = (
    "Plain S1 is matched by updates in this study: it took as many optimiser updates as the multi-task run, each on as "
    "many micro-batches of its task as the multi-task run had, on average, in the updates that drew the task. Its "
    "tokens are not held equal; where it is said below to have read the task's share of the tokens, it read this."
)


def legend(margin: float) -> tuple[tuple[str, str], ...]:
    """What each verdict means."""
    m = f"{margin:g}"
    more = f"the single-task model that read as many tokens in all, all of them from this task, by more than {m}"
    meanings = {
        verdict.GENUINE: f"Better than {more}, and than the one that read only this task's share. It learnt something "
        "from the other tasks that more of the task's own text did not give.",
        verdict.EXPOSURE: "Better than the single-task model that read only this task's share of the tokens, but about "
        "as good as the one that read as many tokens in all. The gain came from training on more text.",
        verdict.NO_EFFECT: f"Within {m} of both single-task models; at the ceiling where no more could be gained.",
        verdict.NEGATIVE: f"Worse than {more}, and than the one that read only this task's share. The other tasks cost "
        "more than they gave.",
        verdict.OVER_TRAINED: f"Better than {more}, but not than the one that read only this task's share: more of its "
        "own text made the control worse. To beat such a control is not yet transfer.",
        verdict.OWN_SHARE: "About as good as the single-task model that read as many tokens in all, and worse than the "
        "one that read only this task's share: more text of any kind made the task worse.",
        verdict.DILUTION: f"Worse than {more}, and about as good as the one that read only this task's share: the "
        "other tasks' tokens gave this task nothing.",
        verdict.HELPS_LESS: f"Better than the single-task model that read only this task's share, but worse than {more}"
        ": the other tasks' text helps, and the task's own would help more.",
        verdict.NOT_LEARNT: "No side scores above the simple baselines: that such models are alike is no finding.",
        verdict.INCONCLUSIVE: "These runs do not show any of the above; the table says what it would take.",
    }
    return tuple((f"{SIGNS[kind]} {kind}", meaning) for kind, meaning in meanings.items())


def summary(study: Mapping[str, Any]) -> str:
    """How many tasks have which verdict, as a sentence."""
    verdicts = [row["verdict"] for row in study["tasks"].values()]
    said = ", ".join(f"{verdicts.count(kind)} {kind}" for kind in SIGNS if kind in verdicts)
    seeds = study["seeds"]
    return (
        f"{study['name']} on {count(len(verdicts), 'task')}, {count(len(seeds), 'seed')}: {said}. "
        + ("" if len(seeds) > 1 else "One seed cannot show any claim: the variation between seeds is unknown. ")
    ).strip()


def answers(anchor: str, study: Mapping[str, Any], settings: Mapping[str, Any], runs: Runs) -> Section:
    """The verdict table, its legend, and the tests behind it."""
    blocks = [Text(summary(study)), _verdicts(study), *_reservations(study, settings, runs)]
    blocks += [_rule(study, settings), Items(legend(settings["margin"])), _tests(study)]
    return Section(anchor, "Verdict", tuple(blocks))


def _verdicts(study: Mapping[str, Any]) -> Table:
    """A row a task: its verdict, and the differences behind it."""
    rows = []
    for task, row in study["tasks"].items():
        multi = learnt.mean(row["scores"][cells.MULTI])
        kind = row["verdict"]
        rows.append(
            (
                task,
                Cell(f"{SIGNS[kind]} {outcome.called(row, study)}", f"verdict {kind}"),
                row["row"],
                MISSING if multi is None else f"{multi:.3f} {row['metric']}",
                difference(row["controlled"]),
                difference(row["plain"]),
                row["advice"] or "–",
            )
        )
    single = any(row[side] and row[side]["units_only"] for row in study["tasks"].values() for side in outcome.SIDES)
    return Table(
        ("task", "verdict", "RQ5: against as many tokens in all alone", "multi-task score",
         "less S1 with as many tokens in all",
         f"less S1 with {PLAIN[study.get('plain', 'tokens')]}", "what a decision would take"),
        tuple(rows),
        "Scores on the test split, mean over seeds; differences with 95 % intervals. S1 is the single-task model."
        + (" Units only: with one seed, intervals know of the test units alone." if single else ""),
        cards=True,
    )  # fmt: skip


def _reservations(study: Mapping[str, Any], settings: Mapping[str, Any], runs: Runs) -> list[Block]:
    """What is to be known before the verdicts are believed."""
    blocks: list[Block] = []
    if study.get("plain") == "updates":
        blocks.append(Text(BY_UPDATES))
    if weak := [said for task in study["tasks"] if (said := _unlearnt(task, runs))]:
        blocks.append(
            Text(
                f"No run beats the simple baselines on {'; '.join(weak)}. A verdict there compares models that have "
                "hardly learnt the task.",
                "alarm",
            )
        )
    if study["exploratory"]:
        blocks.append(Text(f"EXPLORATORY, not the study's own verdict: {'; '.join(study['exploratory'])}.", "alarm"))
    for task, row in study["tasks"].items():
        blocks += [Text(f"{task}: {line}.", "alarm") for line in learnt.words(row)]
        blocks += [Text(f"{task}: {line}.") for line in outcome.standing(row)]
    if changed := outcome.departures(settings, study["fixed"]):
        blocks.append(Text(f"NOT the rule of the study: {'; '.join(changed)}.", "alarm"))
    if lone := [task for task, row in study["tasks"].items() if row["units_are"] == "single examples"]:
        blocks.append(
            Text(
                f"On {', '.join(lone)} every test example is a unit of its own: examples are taken as independent. "
                "Where several come from one document, the data should name it (doc_id), and the document is the unit."
            )
        )
    if study["missing"]:
        blocks.append(Text(f"Missing: {count(len(study['missing']), 'run')}; see the list at the end.", "alarm"))
    return blocks


def _rule(study: Mapping[str, Any], settings: Mapping[str, Any]) -> Text:
    """By which rule verdicts are given."""
    return Text(
        f"Differences of at most {settings['margin']:g} (the margin, in the unit of the metric) count as none. A "
        f"verdict other than {verdict.INCONCLUSIVE} is given where its test holds at level "
        f"{settings['level']:.3g}, corrected (Holm) for {count(settings['tasks'], 'task')}: paired bootstrap over "
        f"test units and seeds, {settings['draws']:,} draws. {_looked(study, settings)}What is compared is the mean "
        "over seeds. RQ5's outcome by the first difference alone stands beside each verdict: better than a single-task "
        "model with as many tokens in all is called genuine transfer there, about as good data exposure only, "
        "worse negative transfer; the verdict asks for the second difference too."
    )


def _unlearnt(task: str, runs: Runs) -> str:
    """The task with its best dev score, where that is not above the simple baselines of result.json; else ""."""
    scores = [run.result.scores.get(task) for run in (*runs.multi.values(), *runs.controls.values())]
    known = [score for score in scores if score is not None and score.dev is not None and score.baselines]
    best = max((score.dev for score in known if score.dev is not None), default=0.0)
    simple = max((value for score in known for value in score.baselines.values()), default=0.0)
    return f"{task} (best dev score {best:.3f}, baseline {simple:.3f})" if known and best <= simple else ""


def _looked(study: Mapping[str, Any], settings: Mapping[str, Any]) -> str:
    if len(study["looks"]) < 2:
        return ""
    looks = ", ".join(map(str, study["looks"]))
    return (
        f"The study is looked at after {looks} seeds, and its level of {settings['alpha']:g} is spent over the looks: "
        "what one of them shows stands, and is told at the later ones. "
    )


def _tests(study: Mapping[str, Any]) -> Table:
    rows = []
    for task, row in study["tasks"].items():
        p = [row["holm"][claim] for claim in verdict.CLAIMS] + [row["row_holm"][name] for name in verdict.ROWS]
        rows.append((task, *(MISSING if each is None else f"{each:.3g}" for each in p), str(row["units"]), row["why"]))
    return Table(
        ("task", *(f"p: {claim}" for claim in verdict.CLAIMS), *(f"p: RQ5 {name}" for name in verdict.ROWS),
         "test units", "why"),
        tuple(rows),
        "The tests: p-values after Holm's correction over the tasks; a claim is made where its p is at most the level. "
        "RQ5: of the first difference alone.",
        numeric=tuple(range(1, len(verdict.CLAIMS) + len(verdict.ROWS) + 2)),
        folded=True,
    )  # fmt: skip


def power(anchor: str, study: Mapping[str, Any], settings: Mapping[str, Any]) -> Section:
    """What the study can show."""
    plans = {task: row["power"] for task, row in study["tasks"].items()}
    lines = planning.plan_lines(plans, settings["margin"])
    return Section(
        anchor,
        "What it can show",
        (
            Text(
                "The smallest true difference that these runs would show to be above the margin with a power of "
                f"{planning.POWER:.0%}, from the variances between seeds and test units that they have (in brackets: "
                "where the variance between seeds may lie, 10 to 90 %); and the seeds that other differences take."
            ),
            Items(tuple((task, line.removeprefix(f"{task}: ")) for task, line in zip(plans, lines, strict=True))),
        ),
    )


def differences(anchor: str, study: Mapping[str, Any], margin: float) -> Section:
    """The forest plot."""
    rows = [(task, row["controlled"], row["plain"]) for task, row in study["tasks"].items()]
    said = "; ".join(f"{task}: {difference(c).text}, {difference(p).text}" for task, c, p in rows)
    plain = study.get("plain", "tokens")
    of_task, share = "as many of the task", "this task's share of the tokens"
    if plain == "updates":
        of_task = share = PLAIN[plain]
    drawn = figures.forest(
        f"{anchor}-forest",
        f"Forest plot of multi-task less S1 (as many tokens in all, {of_task}) with 95 % intervals. {said}.",
        rows,
        margin,
        plain,
    )
    return Section(
        anchor,
        "Differences",
        (
            Text(
                "Right of the grey band the multi-task model is better, left of it worse. Filled circles: against S1 "
                "with as many tokens in all, which decides between transfer and more text. Open squares: against S1 "
                f"with {share}. Lines: 95 % intervals. Small strokes: single seeds."
            ),
            Figures((drawn,)),
        ),
    )


def learning(anchor: str, study: Mapping[str, Any], runs: Runs) -> Section:
    """Dev scores against tokens, a picture a task."""
    drawn, blocks = [], []
    for i, (task, row) in enumerate(study["tasks"].items()):
        metric = row["metric"]
        sides = {
            cells.MULTI: [points(run, task, metric) for run in runs.multi.values()],
            **{
                name: [points(run, task, metric) for (c, t, _), run in runs.controls.items() if (c, t) == (side, task)]
                for side, name in cells.CONTROLS.items()
            },
        }
        sides = {name: [seed for seed in seeds if seed] for name, seeds in sides.items()}
        if not any(sides.values()):
            blocks.append(Missing(f"learning curve of {task}", "no run has evaluations in its metrics.jsonl"))
            continue
        ends = ", ".join(
            f"{name} ends at {learnt.mean(dict(enumerate(s[-1][1] for s in seeds))):.3f}"
            for name, seeds in sides.items()
            if seeds
        )
        alt = f"Dev {metric} of {task} against input tokens: {ends}."
        drawn.append(figures.curves(f"{anchor}-{i}", task, alt, metric, sides))
    text = Text(
        "Scores on the dev split (evaluations along the way look at a part of it) against all input tokens that the "
        "model has trained on. Multi-task and token-controlled S1 end at the same number; plain S1 ends where its "
        "share of the task does. Thin lines are seeds, thick ones their mean."
    )
    return Section(anchor, "Learning curves", (text, *((Figures(tuple(drawn)),) if drawn else ()), *blocks))


def points(run: RunRecord, task: str, metric: str) -> list[tuple[int, float]]:
    """(tokens, dev score) of every evaluation; of two at the same step the last, which is the full one."""
    tokens = {step.step: step.tokens for step in run.steps}
    curve = {
        tokens[each.step]: each.scores[task][metric]
        for each in run.evaluations
        if each.step in tokens and metric in each.scores.get(task, {})
    }
    return sorted(curve.items())


def exclusion(anchor: str, study: Mapping[str, Any], runs: Runs) -> Section:
    """What the tasks lose where the shared slot never saw them, and that it stayed as it was."""
    rows = [(task, row[cells.EXCLUSION]) for task, row in study["tasks"].items() if row.get(cells.EXCLUSION)]
    title = "Exclusion control"
    if not rows:
        why = "the study has no finished exclusion control (keep = [TASK, …] in its file)"
        return Section(anchor, title, (Missing("exclusion control", why),))
    kept = sorted({task for run in runs.kept.values() for task in run.tasks})
    blocks: list[Block] = [
        Text(
            f"Is the gain only overlap between tasks that share text? The shared slot is trained on {', '.join(kept)} "
            "alone, frozen, and the other slots and heads are then tuned on the other tasks, with the tokens that "
            "they had in the full run. A difference above 0: the full run, whose shared slot saw the task, is better."
        ),
        Table(
            ("task", "full run's score", "full run less the run whose shared slot never saw the task"),
            tuple((task, score(study["tasks"][task]), difference(effect)) for task, effect in rows),
            "Test scores, mean over seeds; 95 % intervals.",
            cards=True,
        ),
    ]
    digests = []
    for seed, after in sorted(runs.excluded.items()):
        before = runs.kept.get(seed)
        pair = [run and run.result.slots.get("shared") for run in (before, after)]
        same = "equal" if pair[0] is not None and pair[0] == pair[1] else "NOT EQUAL"
        tokens = [t for t in after.tasks if before is not None and before.tokens.per_task.get(t)]
        digests.append(
            (f"seed {seed}", *(Cell(d, "code") if d else MISSING for d in pair), same,
             "none" if not tokens else ", ".join(tokens))
        )  # fmt: skip
    whole = all(row[3] == "equal" and row[4] == "none" for row in digests)
    blocks += [
        Text("The shared slot was the same, bit for bit, before and after the tuning, and no excluded task gave it a "
             "token.", "good")
        if whole
        else Text("The shared slot changed, or an excluded task reached it: this control does not hold.", "alarm"),
        Table(
            ("run", "shared slot before", "after", "the two are", "excluded tasks that trained it"),
            tuple(digests),
            "Digests of the shared slot.",
            folded=True,
        ),
    ]  # fmt: skip
    return Section(anchor, title, tuple(blocks))


def absent(anchor: str, document: Mapping[str, Any], studies: Sequence[Mapping[str, Any]], tidy: Any) -> Section:
    """Everything that is missing, has not finished or takes no part."""
    rows = [
        (f"{m['side']} of {m['task']}, seed {m['seed']}", tidy(m["why"])) for study in studies for m in study["missing"]
    ]
    rows += [(tidy(path), "has not finished") for path in document["unfinished"]]
    rows += [(tidy(each["path"]), f"takes no part: {tidy(each['why'])}") for each in document["unused"]]
    if not rows:
        return Section(anchor, "What is missing", (Text("Nothing: every run of the comparison is there.", "good"),))
    return Section(anchor, "What is missing", (Table(("what", "why"), tuple(rows), "Runs that are not there."),))


def score(row: Mapping[str, Any]) -> Cell | str:
    value = learnt.mean(row["scores"][cells.MULTI])
    return MISSING if value is None else f"{value:.3f} {row['metric']}"


def difference(effect: Mapping[str, Any] | None) -> Cell:
    """An estimate and its interval."""
    if effect is None:
        return MISSING
    low, high = effect["interval_95"]
    only = ", units only" if effect["units_only"] else ""
    return Cell(f"{signed(effect['estimate'])} ({signed(low)} to {signed(high)}{only})", "interval")


def signed(value: float) -> str:
    """With three decimals and a real minus; what rounds to zero has no sign."""
    return verdict.signed(value, 3).replace("-", "−")


def count(number: int, what: str) -> str:
    """The number with its noun: 1 run, 2 runs."""
    return f"{number:,} {what}" + ("" if number == 1 else "s")
