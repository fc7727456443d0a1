"""The pages of `docs/algorithms` agree with the code: keys, metrics, values, files.

PGCLI_UPDATE_GOLDEN=1 rewrites what is generated: the columns Default and Allowed of the
pages, and the table of the index.
"""

import dataclasses
import json
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.generated import check_generated

from pgcli.algos import ALGORITHMS
from pgcli.cli import algorithm_pages as pages
from pgcli.cli.algorithm_pages import Page, quoted, rows
from pgcli.config.algorithms import ALGORITHM_ALIASES, ALGORITHM_CONFIGS
from pgcli.config.dump import flow
from pgcli.config.fields import fields
from pgcli.config.load import resolve
from pgcli.envs.make import make_device_env
from pgcli.rollout.device_collector import begin
from pgcli.training.loops.base import to_row, to_words
from pgcli.training.loops.device_loop import run_chunk
from pgcli.training.seeds import role_key
from pgcli.training.state import DeviceState
from pgcli.training.step import init_run, make_knobs, make_setup

Run = Callable[..., Any]
ROOT = Path(__file__).parents[3]
SECTIONS = [
    "What is new",
    "Equations",
    "Lecture and papers",
    "Symbols",
    "Hyperparameters",
    "What goes wrong",
    "Commands",
    "Measured results",
]
CITATION = "Lee, lecture on policy gradient and PPO, "
WORDS = {"leave_one_out"}  # with an underscore, and neither a key nor a metric

every_page = pytest.mark.parametrize("name", ALGORITHM_CONFIGS)


@cache
def emitted(algo: str) -> set[str]:
    """The keys of a row of metrics.jsonl.

    One iteration is traced and not compiled: which metrics there are is structure.
    """
    sets = ["env.num_envs=8", "network.hidden=[4]"]
    if ALGORITHM_CONFIGS[algo].collects == "steps":
        sets.append("rollout.num_steps=8")
    flags = {"algo.name": (algo, "--algo"), "env.id": ("func:CartPole-v1", "--env")}
    config = resolve(file=None, flags=flags, sets=sets, use_preset=False).config
    env = make_device_env(config.env)
    setup = make_setup(config, env.spec)

    def iteration(knobs: Any, key: Any, one: Any) -> Any:
        run = init_run(setup, knobs, key)
        steps = setup.algorithm.collects == "steps"
        envs = begin(env, setup.policy, key, setup.columns) if steps else ()
        state = DeviceState(run, envs)
        limit = jnp.int32(1)
        return run_chunk(setup, env, knobs, state, key, one, one, limit)[1]

    key = role_key(0, "train")
    shapes = jax.eval_shape(iteration, make_knobs(config), key, to_words(1))
    report = jax.tree.map(lambda x: np.ones(x.shape[1:], x.dtype), shapes)
    report = report._replace(fault=np.array([-1, 0, 0]))
    return set(to_row(report, 1, env.spec))


def mentioned_metrics(page: Page) -> set[str]:
    return {name for term in page.symbols for name in term["metrics"]}


def mentioned_keys(page: Page) -> set[str]:
    tuned = {row["key"] for row in page.hyperparameters}
    return tuned | {path for term in page.symbols for path in term["keys"]}


def accept(algo: str, *sets: str) -> None:
    """Resolves `--set` arguments: a ConfigError where one is not accepted."""
    flags = {"algo.name": (algo, "--algo")}
    resolve(file=None, flags=flags, sets=sets, use_preset=False)


def with_current_values(page: Page) -> str:
    """The page with the schema's values in its columns Default and Allowed."""

    def row(match: re.Match[str]) -> str:
        field = fields(page.name).get(match[1])
        if field is None:
            return match[0]
        default = flow(field.default)
        return f"| `{match[1]}` | `{default}` | {field.kind.expected} |"

    return re.sub(r"^\| `([a-z_.0-9]+)` \| [^|]*\| [^|]*\|", row, page.text, flags=re.M)


def index_rows() -> Iterator[str]:
    for name in ALGORITHM_CONFIGS:
        new, formula, lecture, collects = pages.read(name).summary.values()
        link = f"[`{name}`]({name}.md)"
        yield f"| {link} | {new} | `{formula}` | {lecture} | {collects} |"


def commands(page: Page) -> list[list[str]]:
    lines = page.sections["Commands"].splitlines()
    return [shlex.split(line) for line in lines if line.startswith("pgcli ")]


def test_every_algorithm_has_a_page_and_every_page_an_algorithm() -> None:
    found = {path.stem for path in pages.directory().glob("*.md")}
    assert found == {*ALGORITHM_CONFIGS, "README"}
    assert list(ALGORITHM_CONFIGS) == list(ALGORITHMS)


@every_page
def test_page_has_every_part(name: str) -> None:
    page = pages.read(name)
    summary = page.summary
    assert page.text.startswith(f"# {name}: ")
    assert list(page.sections) == SECTIONS
    assert all((page.title, *page.sections.values(), *summary.values()))
    assert summary["Collects"] == ALGORITHM_CONFIGS[page.name].collects
    for alias, real in ALGORITHM_ALIASES.items():
        assert (f"Alias: `{alias}`." in page.text) == (real == name)
    assert len(page.failures) >= 3
    assert all(term["keys"] or term["metrics"] for term in page.symbols)
    assert all(term["code"] for term in page.symbols)


@every_page
def test_page_cites_the_lecture_and_papers(name: str) -> None:
    page = pages.read(name)
    sources = " ".join(page.sections["Lecture and papers"].split())
    assert re.search(r"\b(19|20)\d\d\b", sources)  # the year of a paper
    lecture = re.fullmatch(r"(§[3-6])( .*)?|—", page.summary["Lecture"])
    assert lecture is not None
    assert lecture[1] is None or f"{CITATION}{lecture[1]}" in sources


@every_page
def test_page_names_only_keys_of_its_algorithm(name: str) -> None:
    assert mentioned_keys(pages.read(name)) <= set(fields(name))


@every_page
def test_page_names_every_own_key(name: str) -> None:
    page = pages.read(name)
    own = {f"algo.{f.name}" for f in dataclasses.fields(ALGORITHM_CONFIGS[name])}
    for named in (
        {row["key"] for row in page.hyperparameters},
        {path for term in page.symbols for path in term["keys"]},
    ):
        assert own - named == {"algo.name"}


@every_page
def test_page_names_the_metrics_that_are_logged(name: str) -> None:
    assert mentioned_metrics(pages.read(name)) == emitted(name)


@every_page
def test_prose_names_no_key_or_metric_of_another(name: str) -> None:
    """Whatever a page says to look at or to change must exist."""
    text = re.sub(r"\]\([^)]*\)|\S+\.(py|md)\b", "", pages.read(name).text)
    keys = set(fields(name))
    short = {path.rpartition(".")[2] for path in keys}
    known = keys | short | emitted(name) | WORDS
    sections = "|".join(
        sorted({path.partition(".")[0] for path in keys if "." in path})
    )
    # A full path, or a word that can be nothing but a key or a metric.
    pattern = rf"\b(?:{sections})\.[a-z]\w+|\b[a-z]{{2,}}(?:_[a-z]{{2,}}\w*)+"
    assert set(re.findall(pattern, text)) - known == set()
    # A word in backticks is one of these, a value of a key, or an algorithm.
    choices = {w for field in fields(name).values() for w in field.kind.choices}
    constants = {"null", "true", "false", "metrics.jsonl", "terminated"}
    names = {*ALGORITHM_CONFIGS, *ALGORITHM_ALIASES, *choices, *constants}
    words = {word for word in quoted(text) if re.fullmatch("[a-z][a-z0-9_.-]+", word)}
    assert words - known - names == set()


@every_page
def test_values_on_a_page_would_be_accepted(name: str) -> None:
    page = pages.read(name)
    for each in re.findall(r"`([a-z]+\.[a-z_]+=[\w.-]*\w)`", page.text):
        accept(name, each)
    for row in page.hyperparameters:
        for value in quoted(row["typical"]):
            accept(name, f"{row['key']}={value}")


@every_page
def test_defaults_and_bounds_are_those_of_the_schema(name: str) -> None:
    page = pages.read(name)
    check_generated(pages.directory() / f"{name}.md", with_current_values(page))


def test_index_lists_what_the_pages_say() -> None:
    text = pages.read("README").text
    table = re.compile(r"(\| Algorithm \|.*\n\|[-|]+\|\n)(?:\|.*\n)*")
    expected = "".join(f"{row}\n" for row in index_rows())
    current = table.sub(lambda match: match[1] + expected, text, count=1)
    check_generated(pages.directory() / "README.md", current)


@pytest.mark.parametrize("name", [*ALGORITHM_CONFIGS, "README"])
def test_links_lead_to_files(name: str) -> None:
    targets = re.findall(r"\]\(([^)#]+)[^)]*\)", pages.read(name).text)
    local = [target for target in targets if not target.startswith("https://")]
    assert local
    for target in local:
        assert (pages.directory() / target).is_file(), target


@every_page
def test_commands_of_a_page_run(name: str, run: Run) -> None:
    found = commands(pages.read(name))
    assert any(words[:2] == ["pgcli", "train"] for words in found)
    for _, *words in found:
        if words[0] == "train":
            assert words[1:3] == ["--algo", name]
            words = [w for w in words if w != "--dry-run"] + ["--dry-run"]
        if words[0] == "ladder":  # trains: only its algorithms are checked
            listed = words[words.index("--algos") + 1] if "--algos" in words else name
            assert set(listed.split(",")) <= set(ALGORITHM_CONFIGS)
        else:
            assert run(*words).code == 0, words


@every_page
def test_measured_numbers_are_those_of_the_results(name: str) -> None:
    """Each row of a table stands in the README or in `docs/`, behind the name."""
    documents = [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]
    results = "\n".join(path.read_text(encoding="utf-8") for path in documents)
    lines = [line for line in results.splitlines() if name in line]
    tables = re.findall(
        r"(?:^\|.*\n?)+", pages.read(name).sections["Measured results"], re.M
    )
    for row in (row for table in tables for row in rows(table)):
        cells = " | ".join(row.values())
        assert any(f"{cells} |" in line for line in lines), cells


def test_explain_prints_the_page(run: Run) -> None:
    assert run("explain", "ppo1").out == pages.read("ppo1").text
    assert run("explain").out == pages.read("README").text


@pytest.mark.parametrize(("alias", "name"), ALGORITHM_ALIASES.items())
def test_explain_takes_aliases(alias: str, name: str, run: Run) -> None:
    assert run("explain", alias).out == run("explain", name).out


def test_explain_json_has_the_documented_keys(run: Run) -> None:
    data = json.loads(run("explain", "ppo1", "--json").out)
    assert list(data) == [
        *("ok", "name", "aliases", "new", "formula", "lecture", "collects", "below"),
        *("title", "sections", "symbols", "hyperparameters", "failures"),
    ]
    assert (data["name"], data["below"]) == ("ppo1", "trpo")
    assert list(data["sections"]) == SECTIONS
    assert list(data["symbols"][0]) == ["symbol", "meaning", "keys", "metrics", "code"]
    assert list(data["hyperparameters"][0]) == [
        *("key", "default", "allowed", "typical", "effect")
    ]
    assert list(data["failures"][0]) == ["symptom", "cause", "remedy"]


def test_index_json_has_one_row_per_algorithm(run: Run) -> None:
    data = json.loads(run("explain", "--json").out)
    assert [row["name"] for row in data["ladder"]] == list(ALGORITHMS)
    keys = ["name", "aliases", "new", "formula", "lecture", "collects"]
    assert all(list(row) == keys for row in data["ladder"])


@pytest.mark.parametrize(
    ("word", "help"),
    [
        ("ppo3", "did you mean `ppo2`?"),
        ("rewards_to_go", "did you mean `reward-to-go`?"),
        ("nothing", "there are reinforce, "),
        ("dqn", "it is off-policy"),
        ("algo.clip_eps", "pgcli config explain algo.clip_eps"),
    ],
)
def test_unknown_algorithm_is_a_usage_error(word: str, help: str, run: Run) -> None:
    outcome = run("explain", word)
    assert (outcome.code, outcome.out) == (2, "")
    assert help in outcome.err


def test_counterexample_has_the_numbers_it_is_told_with() -> None:
    # One step, two actions, reward 1 for the right one (p = 0.99). The score in its
    # logit is 1 − p where it is taken and −p where it is not.
    p = 0.99
    probability, reward = np.array([p, 1 - p]), np.array([1.0, 0.0])
    score = np.array([1 - p, -p])

    def variance(b: float) -> float:
        estimate = (reward - b) * score
        return float(probability @ estimate**2 - (probability @ estimate) ** 2)

    best = (probability @ (reward * score**2)) / (probability @ score**2)
    assert variance(0) == pytest.approx(p * (1 - p) ** 3)
    text = " ".join(pages.read("reinforce-baseline").text.split())
    assert f"p(1−p)³ = {variance(0):.1e}".replace("e-0", "e-") in text
    assert f"but {variance(p):.1e}".replace("e-0", "e-") in text
    assert f"here {best:.2f}" in text


def test_explain_imports_no_jax() -> None:
    code = "import sys; from pgcli.cli.main import main; main(['explain', 'ppo1']); "
    code += "print({'jax', 'numpy', 'gymnasium', 'flax', 'rich'} & {*sys.modules})"
    words = [sys.executable, "-c", code]
    done = subprocess.run(
        words, capture_output=True, text=True, check=True, timeout=60, cwd=ROOT
    )
    assert done.stdout.splitlines()[-1] == "set()"
