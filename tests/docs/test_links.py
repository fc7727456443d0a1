"""Documents agree with the repository: links, headings, commands, options, keys."""

import re
import shlex
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from typer.main import get_command

from pgcli.cli.main import build_app
from pgcli.config.algorithms import ALGORITHM_CONFIGS
from pgcli.config.fields import fields

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    [
        *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")),
        ROOT / "tests" / "README.md",
        *(ROOT / "docs").rglob("*.md"),
    ]
)
FENCE = re.compile(r"^(```+|~~~+)[^\n]*\n(.*?)^\1[ ]*$", re.MULTILINE | re.DOTALL)
SPAN = re.compile(r"`([^`\n]+(?:\n[^`\n]+)?)`")
LINK = re.compile(r"!?\[[^\]]*\]\(([^()\s]+)\)")
SECTIONS = (
    "algo",
    "env",
    "rollout",
    "optimizer",
    "network",
    "normalize",
    "eval",
    "checkpoint",
    "log",
    "host",
    "parallel",
)
OPEN_ENDED = ("env.kwargs",)
"""Keys whose values are mappings: anything may follow."""
FILES = (".jsonl", ".json", ".safetensors", ".md", ".py", ".yaml", ".txt")
FILTERS = ("envs", "presets")
"""Groups that take a filter in place of a command."""
COMPLETION = {"--install-completion", "--show-completion", "--help", "-h"}

every_page = pytest.mark.parametrize(
    "page", PAGES, ids=[str(page.relative_to(ROOT)) for page in PAGES]
)


def text_of(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def prose_of(page: Path) -> str:
    """The page without its code blocks."""
    return FENCE.sub("", text_of(page))


def slug(heading: str) -> str:
    """The anchor that GitHub gives a heading."""
    plain = LINK.sub(lambda m: m[0].split("](")[0].lstrip("!["), heading)
    return re.sub(r"[^\w\- ]", "", plain.strip().lower()).replace(" ", "-")


@cache
def anchors(page: Path) -> frozenset[str]:
    found: list[str] = []
    for heading in re.findall(r"^#{1,6} (.+)$", prose_of(page), re.MULTILINE):
        name = slug(heading)
        count = found.count(name)
        found.append(name if count == 0 else f"{name}-{count}")
    return frozenset(found)


@every_page
def test_links_point_to_files_and_headings(page: Path) -> None:
    broken = []
    for link in LINK.findall(SPAN.sub("", prose_of(page))):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or ROOT not in (target, *target.parents):
            broken.append(f"{link}: no such file")
        elif anchor and anchor not in anchors(target):
            broken.append(f"{link}: no such heading")
    assert broken == []


@cache
def command_tree() -> Any:
    return get_command(build_app())


def options_of(command: Any) -> set[str]:
    return COMPLETION | {name for param in command.params for name in param.opts}


class Call(NamedTuple):
    """A call of pgcli as a page shows it."""

    text: str
    words: list[str]


def code_of(page: Path) -> Iterator[str]:
    """Lines of code blocks, continued ones joined, and code spans."""
    for match in FENCE.finditer(text_of(page)):
        yield from match[2].replace("\\\n", " ").splitlines()
    for span in SPAN.findall(prose_of(page)):
        yield span.replace("\n", " ")


def calls(page: Path) -> Iterator[Call]:
    for line in code_of(page):
        found = re.search(r"(?:^|[\s(])(?:[\w.]+/)*pgcli (?=[a-z-])(.*)", line)
        if found is None or re.match(r"\s*(import|from|error:) ", line):
            continue
        lexer = shlex.shlex(found[1], posix=True, punctuation_chars="|&;<>")
        lexer.whitespace_split = True
        lexer.commenters = "#"
        try:
            words = list(lexer)
        except ValueError:  # output, with an apostrophe
            continue
        ends = [i for i, word in enumerate(words) if set(word) <= set("|&;<>")]
        yield Call(line.strip(), words[: ends[0]] if ends else words)


def faults(call: Call) -> Iterator[str]:
    """Commands, options and keys of a call that do not exist."""
    command, allowed = command_tree(), options_of(command_tree())
    words = iter(call.words)
    for word in words:
        if word.startswith("-") and len(word) > 1 and not word[1].isdigit():
            name, _, value = word.partition("=")
            if name not in allowed:
                yield f"{call.text}: no option {name}"
            if name == "--set":
                yield from key_faults(call, value or next(words, ""))
        elif word in (known := getattr(command, "commands", {})) or (
            command.name == "sweep" and word.endswith(".yaml")
        ):
            command = known[word if word in known else "run"]
            allowed |= options_of(command)
        elif not hasattr(command, "commands") or command.name in FILTERS:
            continue  # an argument, or a filter in place of a command
        elif re.fullmatch(r"[a-z]+", word):
            yield f"{call.text}: no command {word}"
            return


def key_faults(call: Call, assignment: str) -> Iterator[str]:
    key = assignment.partition("=")[0]
    if key not in ("KEY", "path") and not is_key(key):
        yield f"{call.text}: no key {key}"


@cache
def keys() -> frozenset[str]:
    """Every dotted path of the configuration of any algorithm."""
    return frozenset(path for algo in ALGORITHM_CONFIGS for path in fields(algo))


def is_key(path: str) -> bool:
    return path in keys() or path.startswith(tuple(f"{key}." for key in OPEN_ENDED))


@every_page
def test_commands_options_and_keys_in_code_exist(page: Path) -> None:
    assert [fault for call in calls(page) for fault in faults(call)] == []


@every_page
def test_keys_named_in_text_exist(page: Path) -> None:
    """Code spans such as `env.num_envs` and `--set optimizer.lr=1e-3`."""
    missing = []
    for span in SPAN.findall(prose_of(page)):
        plain = re.sub(r"^--set\s+'?", "", span)
        found = re.match(r"([a-z]+(?:\.\w+)+)(?==|$)", plain)
        if found is None or found[1].endswith(FILES):
            continue
        if found[1].split(".")[0] in SECTIONS and not is_key(found[1]):
            missing.append(span)
    assert missing == []


def test_every_document_is_in_the_index() -> None:
    index = ROOT / "docs" / "README.md"
    linked = {
        (index.parent / link.partition("#")[0]).resolve()
        for link in LINK.findall(prose_of(index))
    }
    pages = {page for page in (ROOT / "docs").glob("*.md") if page != index}
    assert pages - linked == set()


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("pgcli trian --algo ppo2", "no command trian"),
        ("pgcli train --stepz 3", "no option --stepz"),
        ("pgcli train --set optimizer.rate=1", "no key optimizer.rate"),
        ("PGCLI_CACHE=x .venv/bin/pgcli runs hash", "no command hash"),
        ("pgcli train -q | pgcli nothing", ""),
        ("pgcli envs pole", ""),
        ("pgcli config show --algo ppo2 > my.yaml", ""),
        ("pgcli train --set 'env.wrappers=[A, {B: {c: 4}}]'", ""),
    ],
)
def test_check_of_commands_sees_mistakes(text: str, fault: str, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"```console\n$ {text}\n```\n", encoding="utf-8")
    found = [fault for call in calls(page) for fault in faults(call)]
    assert [line.rpartition(": ")[2] for line in found] == ([fault] if fault else [])
