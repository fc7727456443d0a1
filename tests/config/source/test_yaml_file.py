import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgcli.config.source import yaml_file
from pgcli.config.source.document import Document


def parse(text: str) -> Document:
    return yaml_file.parse(text, origin="x.yaml", where="x.yaml", rank=(2, 0))


def only_message(text: str) -> str:
    (issue,) = parse(text).issues
    return issue.message


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("3e-4", 3e-4),
        ("1e5", 1e5),
        (".5", 0.5),
        ("1.", 1.0),
        ("100_000", 100_000),
        ("-1_0", -10),
        ("1_000.5", 1000.5),
        ("0777", 777),
        ("+7", 7),
        ("no", "no"),
        ("yes", "yes"),
        ("on", "on"),
        ("true", True),
        ("False", False),
        ("null", None),
        ("~", None),
        ("1_", "1_"),
        ("_1", "_1"),
        ("1__0", "1__0"),
        ("0x10", "0x10"),
        ("2024-01-01", "2024-01-01"),
        ("1:30", "1:30"),
        ("nan", "nan"),
        (".inf", math.inf),
        ("-.inf", -math.inf),
        ('"8"', "8"),
        ("'true'", "true"),
        ("func:CartPole-v1", "func:CartPole-v1"),
    ],
)
def test_scalar_follows_yaml_1_2(text: str, value: object) -> None:
    read = parse(f"key: {text}").tree["key"]
    assert read == value
    assert type(read) is type(value)


def test_scalar_nan_is_read_as_a_number() -> None:
    assert math.isnan(parse("key: .nan").tree["key"])


def test_tree_keeps_order_and_nesting() -> None:
    tree = parse("b: {x: [1, {y: 2}]}\na:\n  c: d\n").tree
    assert tree == {"b": {"x": [1, {"y": 2}]}, "a": {"c": "d"}}
    assert list(tree) == ["b", "a"]


def test_positions_of_keys_and_values_are_those_of_the_text() -> None:
    document = parse("env:\n  num_envs: 16\n  kwargs: {g: [9, 10]}\n")
    key, value = (
        document.keys[("env", "num_envs")],
        document.values[("env", "num_envs")],
    )
    assert (key.line, key.column, key.width) == (1, 2, len("num_envs"))
    assert (value.line, value.column, value.width) == (1, 2 + len("num_envs: "), 2)
    item = document.values[("env", "kwargs", "g", 1)]
    assert (item.line, item.column, item.width) == (2, len("  kwargs: {g: [9, "), 2)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\na: 2\n", "duplicate key `a`"),
        ("a: {b: 1, b: 2}\n", "duplicate key `a.b`"),
        ("a: !!int 3\n", "tags (`!…`) are not allowed"),
        ("a: !!python/object:os.system x\n", "tags (`!…`) are not allowed"),
        ("!!str a: 3\n", "tags (`!…`) are not allowed"),
        ("a: &x 3\n", "anchors (`&x`) are not allowed"),
        ("a: *x\n", "aliases (`*x`) are not allowed"),
        ("<<: {a: 1}\n", "merge keys (`<<`) are not allowed"),
        ("a: 1\n---\nb: 2\n", "more than one YAML document"),
        ("[1, 2]: 3\n", "a key must be a plain word"),
        ("- 1\n", "the configuration must be a mapping of keys to values"),
        ("word\n", "the configuration must be a mapping of keys to values"),
        ('a: "\\ud800"\n', "not valid Unicode text"),
        ("a: \x01\n", "not valid YAML: a control character is not allowed here"),
        ("a: " + "[" * 40, "nested more than 16 deep"),
    ],
)
def test_document_that_is_not_plain_data_is_refused(text: str, message: str) -> None:
    assert only_message(text) == message


@pytest.mark.parametrize("text", ["a: [1", "a: 1: 2", "a:\n\tb: 1", "a: 'x", "a: @x"])
def test_syntax_error_names_its_line(text: str) -> None:
    document = parse("# first line\n" + text)
    assert document.tree is None
    (issue,) = document.issues
    assert issue.message.startswith("not valid YAML: ")
    assert issue.where in ("x.yaml:2", "x.yaml:3")


def test_duplicate_section_is_still_read_so_that_all_errors_show() -> None:
    document = parse("env: {id: A}\nenv: {idd: B}\n")
    assert document.tree == {"env": {"id": "A", "idd": "B"}}
    assert len(document.issues) == 1


def test_alias_bomb_is_refused_without_expanding_it() -> None:
    lines = ["a0: &a0 [x, x]"]
    lines += [f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]" for n in range(1, 60)]
    assert parse("\n".join(lines)).issues


@pytest.mark.parametrize("text", ["", "# nothing\n", "---\n", "\ufeff"])
def test_empty_document_says_nothing(text: str) -> None:
    document = parse(text.removeprefix("\ufeff"))
    assert not document.tree
    assert not document.issues


def test_file_that_cannot_be_read_is_one_issue(tmp_path: Path) -> None:
    def message(path: Path) -> str:
        document = yaml_file.read(path, origin="f", where="f", rank=(2, 0))
        (issue,) = document.issues
        return issue.message

    assert message(tmp_path / "none.yaml") == "cannot read f: No such file or directory"
    assert message(tmp_path) == "cannot read f: Is a directory"
    (tmp_path / "big.yaml").write_bytes(b"#" * (64 * 1024 + 1))
    assert message(tmp_path / "big.yaml") == "f is larger than 64 KiB"
    (tmp_path / "latin.yaml").write_bytes(b"a: \xe9")
    assert message(tmp_path / "latin.yaml") == "f is not UTF-8 text (byte 3)"


def test_file_with_a_byte_order_mark_is_read(tmp_path: Path) -> None:
    path = tmp_path / "bom.yaml"
    path.write_bytes(b"\xef\xbb\xbfsteps: 5\r\n")
    document = yaml_file.read(path, origin="f", where="f", rank=(2, 0))
    assert document.tree == {"steps": 5}


@given(st.text(max_size=60))
def test_any_text_gives_data_or_an_issue_and_never_raises(text: str) -> None:
    document = parse(text)
    for issue in document.issues:
        issue.render()
    assert document.tree is None or isinstance(document.tree, dict)


@given(st.text(alphabet="ab:{}[]-,&*!<|>'\"#\n\t 1.%", max_size=40))
def test_any_punctuation_gives_data_or_an_issue_and_never_raises(text: str) -> None:
    document = parse(text)
    for issue in document.issues:
        issue.render()
