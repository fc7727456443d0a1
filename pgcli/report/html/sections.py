"""Sections of a report page, each for one run or several."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pgcli.config.dump import DERIVED, flat, flow
from pgcli.report.html.markup import (
    Html,
    element,
    folded,
    joined,
    prose,
    section,
    table,
)
from pgcli.report.overview import Fact, Overview
from pgcli.report.text import NOTHING, comparison_rows, members_rows

UNSET = re.compile(rf"default( of .*)?|{DERIVED}")
"""Origins of values that nobody chose, and that do not depend on the environment."""

KEYS = "wide keys"
"""Classes of tables of the configuration."""

CHECKS = (
    "KL divergence of updates, effective sample size, explained variance, entropy, "
    "gradients that are not finite, and diverged runs"
)


def results(runs: Sequence[Overview]) -> Html:
    """How far the runs are, and their scores: cards, or a row per run."""
    if len(runs) == 1:
        pairs = (
            (element("dt", x.name), element("dd", _value(x))) for x in runs[0].facts()
        )
        return element("dl", *(element("div", *pair) for pair in pairs))
    facts = [{fact.name: fact for fact in run.facts()} for run in runs]
    names = list(dict.fromkeys(name for each in facts for name in each))
    rows = [
        (
            run.run.name,
            run.title,
            *(_value(each[name]) if name in each else NOTHING for name in names),
        )
        for run, each in zip(runs, facts, strict=True)
    ]
    return section("Results", table(rows, ("run", "trained", *names), "stack"))


def _value(fact: Fact) -> Html:
    return joined([element("b", fact.value), " ", element("small", fact.detail)])


def comparison(result: Mapping[str, Any]) -> Html:
    """The table of `pgcli compare`, a row per group."""
    head, *rows = comparison_rows(result)
    text = (
        "Score of a run: mean return of its final evaluation. IQM: interquartile mean. "
        f"P(better): probability of beating a run of {result['baseline']}. Intervals: "
        "95 %, from resampling runs."
    )
    return joined([table(rows, head), element("p", text, class_="dim")])


def differences(runs: Sequence[Overview]) -> Html:
    """Keys of the configuration whose values differ, with a column per run."""
    values = [
        {key: flow(value) for key, value in flat(run.config).items()} for run in runs
    ]
    keys = dict.fromkeys(key for each in values for key in each)
    rows = [(key, *(each.get(key, NOTHING) for each in values)) for key in keys]
    rows = [row for row in rows if len(set(row[1:])) > 1]
    if len(runs) < 2:
        return Html()
    if not rows:
        text = "The runs have the same configuration."
        return section("Settings that differ", element("p", text))
    head = ("key", *(run.run.name for run in runs))
    return section("Settings that differ", table(rows, head, KEYS))


def members(runs: Sequence[Overview]) -> Html:
    """Members of the runs that have several, a row each."""
    parts = []
    for run in runs:
        head, *rows = members_rows(run.result) or [()]
        if rows:
            lower = [name.lower().replace("iqm", "IQM") for name in head]
            parts += [_name(run, runs), table(rows, lower)]
    return section("Members", *parts)


def diagnostics(runs: Sequence[Overview]) -> Html:
    """Problems that the logs show, with remedies."""
    parts, sound = [], []
    for run in runs:
        if items := [element("li", prose(text)) for text in run.advice()]:
            parts += [_name(run, runs), element("ul", *items, class_="advice")]
        else:
            sound.append(run.run.name)
    if sound:
        names = f" in {', '.join(sound)}" if len(runs) > 1 else ""
        parts.append(element("p", f"No problem found{names}. Checked: {CHECKS}."))
    return section("Diagnostics", *parts)


def configuration(runs: Sequence[Overview]) -> Html:
    """Values that were chosen, with their origins; all values folded."""
    return section("Configuration", *(_settings(run, runs) for run in runs))


def _settings(run: Overview, runs: Sequence[Overview]) -> Html:
    origins = run.origins
    rows = [
        (key, flow(value), origins.get(key, NOTHING))
        for key, value in flat(run.config).items()
        if key in origins or not origins
    ]
    chosen = [row for row in rows if not UNSET.fullmatch(row[2])]
    head = ("key", "value", "origin")
    if not origins:
        first = element("p", "The origins of the values were not recorded.")
    elif chosen:
        first = table(chosen, head, KEYS)
    else:
        first = element("p", "All values are defaults.")
    every = table(rows, head, KEYS)
    parts = [first, folded(f"All {len(rows)} values", every)]
    if len(runs) == 1:
        return joined(parts)
    return folded(run.run.name, *parts)


def machines(runs: Sequence[Overview]) -> Html:
    """Hardware and versions, with a column per run if they differ."""
    facts = [dict(run.machine()) for run in runs]
    head = ("", *(run.run.name for run in runs))
    if all(each == facts[0] for each in facts):
        facts, head = facts[:1], ()
    names = dict.fromkeys(name for each in facts for name in each)
    rows = [(name, *(each.get(name, NOTHING) for each in facts)) for name in names]
    return section("Hardware and versions", *([table(rows, head)] if rows else []))


def _name(run: Overview, runs: Sequence[Overview]) -> Html:
    """The heading of a run if there are several."""
    return element("h3", run.run.name) if len(runs) > 1 else Html()


def by_environment(runs: Sequence[Overview]) -> Iterator[tuple[str, list[Overview]]]:
    """(environment, its runs), in the order of the runs."""
    groups: dict[str, list[Overview]] = {}
    for run in runs:
        groups.setdefault(run.config.env.id, []).append(run)
    yield from groups.items()
