"""A ladder as text: tables, verdicts and settings."""

import shutil
import textwrap
from collections.abc import Mapping
from typing import Any

from pgcli.cli.terminal.console import table
from pgcli.cli.terminal.formatting import NOTHING, iqm, number, short
from pgcli.config.dump import flow

ALWAYS = (
    "env.id",
    "env.num_envs",
    "rollout.num_steps",
    "rollout.episodes_per_env",
    "optimizer.lr",
    "network.hidden",
    "steps",
)
"""Settings that are shown even if they have their default value."""


def comparison(result: Mapping[str, Any]) -> str:
    """The table of a ladder, the verdicts on its order, and its settings."""
    parts = [_table(result), _notes(result), _order(result), _settings(result)]
    if result["tuning"]:
        parts.append(_tuning(result["tuning"]))
    parts.append(_files(result))
    return "\n\n".join(part for part in parts if part)


def _table(result: Mapping[str, Any]) -> str:
    threshold = result["threshold"]
    header = ["RUNG", "FINAL RETURN", "AREA", "EVAL RETURN"]
    header += [] if threshold is None else [f"STEPS TO {threshold:g}"]
    rows = []
    for row in result["rungs"]:
        cells = [row["algo"], *(iqm(row[key]) for key in ("final", "auc", "eval"))]
        reached = row["threshold"]
        if reached is not None:
            steps, count = reached["median_steps"], reached["reached"]
            median = NOTHING if steps is None else f"{steps:,.0f}"
            cells.append(f"{median} ({count}/{reached['of']})")
        cells += [short(row["kl"]), short(row["ess"]), f"{row['lr']:g}"]
        rows.append(cells)
    return table(rows, header=[*header, "KL", "ESS", "LR"])


def _notes(result: Mapping[str, Any]) -> str:
    count, budget = len(result["seeds"]), result["steps"]
    lines = [
        f"{result['env']}, {budget:,} steps, {count} seed{'s' * (count > 1)}; "
        "IQM [95 % bootstrap interval] over seeds."
    ]
    for row in result["rungs"]:
        if row["diverged"]:
            lines.append(
                f"{row['algo']}: {row['diverged']} of {count} runs diverged; their "
                "last return is kept and they are not evaluated."
            )
    return "\n".join(lines)


def _order(result: Mapping[str, Any]) -> str:
    if not result["order"]:
        return ""
    rows = []
    for claim in result["order"]:
        relation = "≤" if claim["relation"] == "<=" else "<"
        low, high = claim["ci"]
        rows.append(
            (
                f"  {claim['lower']} {relation} {claim['upper']}",
                f"{claim['difference']:+,.1f} [{low:+,.1f}, {high:+,.1f}]",
                claim["verdict"],
            )
        )
    tolerance = 0.02 * result["maximum"]
    head = (
        "Order by area, difference of means [95 %]; < holds above 0, ≤ above "
        f"{-tolerance:,.1f} (2 % of the highest return):"
    )
    few = min(claim["seeds"] for claim in result["order"]) < 5
    tail = "\n  too few seeds for a verdict: use at least 5" if few else ""
    return f"{head}\n{table(rows)}{tail}"


def _settings(result: Mapping[str, Any]) -> str:
    """Common settings and those of each rung, without defaults that all rungs share."""
    from pgcli.config.fields import fields

    # values that occur in the rungs, by key
    rungs = result["rungs"]
    values: dict[str, set[str]] = {}
    for row in rungs:
        for key, value in row["settings"].items():
            values.setdefault(key, set()).add(flow(value))

    def shown(settings: Mapping[str, Any], algo: str) -> dict[str, Any]:
        known = fields(algo)
        return {
            key: value
            for key, value in settings.items()
            if key in ALWAYS
            or len(values.get(key, ())) > 1
            or value != known[key].default
        }

    lines = [_wrapped("common", shown(result["common"], rungs[0]["algo"]))]
    for row in rungs:
        source = f"preset {row['preset']}" if row["preset"] else "no preset"
        own = shown(row["settings"], row["algo"])
        lines.append(_wrapped(f"{row['algo']} ({source})", own))
    return "Settings; all others are defaults\n" + "\n".join(lines)


def _wrapped(title: str, settings: Mapping[str, Any]) -> str:
    text = ", ".join(
        f"{key} {flow(value)}".replace(" ", "\0") for key, value in settings.items()
    )
    width = max(min(shutil.get_terminal_size().columns, 100), 60)
    lines = textwrap.wrap(
        f"{title}: {text}",
        width,
        initial_indent="  ",
        subsequent_indent="    ",
        break_long_words=False,
        break_on_hyphens=False,
    )
    return "\n".join(lines).replace("\0", " ")


def _tuning(tuning: Mapping[str, Any]) -> str:
    seeds = tuning["seeds"]
    rows = []
    for algo, row in tuning["rungs"].items():
        tried = ", ".join(
            f"{lr}: {number(area)}"
            + (" diverged" if float(lr) in row["diverged_at"] else "")
            for lr, area in row["auc_iqm"].items()
        )
        rows.append((f"  {algo}", f"{row['lr']:g}", tried))
    head = f"Learning rates chosen on seeds {seeds[0]} to {seeds[-1]}, and area IQMs"
    return f"{head}\n{table(rows)}"


def _files(result: Mapping[str, Any]) -> str:
    return "\n".join(f"wrote {path}" for path in result["files"].values())


def variance(result: Mapping[str, Any]) -> str:
    """Table of the noise of gradients: a row per weight Ψ, two columns per policy."""
    # header, then a row per weight
    points = result["points"]
    header = ["WEIGHT Ψ", "ESTIMATES"]
    for point in points:
        name = f"{point['policy']}".upper()
        header += [f"{name}: tr Cov", "NOISE/SIGNAL [95 %]"]
    rows = []
    for which in zip(*(point["rows"] for point in points), strict=True):
        cells = [which[0]["weight"], which[0]["estimates"]]
        for row in which:
            cells += [f"{row['variance']:.3g}", _ratio(row)]
        rows.append(cells)

    # notes on the policies and on the definition of the ratio
    lines = [table(rows, header=header), ""]
    for point in points:
        explained = ", ".join(
            f"{value:.2f} ({kind})"
            for kind, value in point["explained_variance"].items()
        )
        lines.append(
            f"{point['policy']} policy: after {point['steps']:,} steps of "
            f"{result['algo']}, mean return {number(point['return_mean'])}; V explains "
            f"{explained} of the variance of G"
        )
    gamma = "" if result["gamma"] is None else f" γ = {result['gamma']:g}."
    lines += [
        f"{result['env']}, {result['episodes']} episodes, the same for all Ψ.{gamma}",
        "Noise/signal is tr Cov(ĝ)/‖∇J‖² for the estimate ĝ of one episode: the number",
        "of episodes at which the error of their mean is as large as the gradient.",
        "‖∇J‖² comes from the least noisy Ψ of the same kind; V is fitted on other",
        "episodes.",
        "",
        _files(result),
    ]
    return "\n".join(lines)


def _ratio(row: Mapping[str, Any]) -> str:
    if row["ratio"] is None:
        return "too noisy: use more --episodes"
    low, high = row["ci"]
    return f"{short(row['ratio'])} [{short(low)}, {short(high)}]"
