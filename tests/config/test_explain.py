import pytest

from pgcli.config.algorithms import ALGORITHM_CONFIGS
from pgcli.config.explain import describe, json_schema
from pgcli.config.fields import fields
from pgcli.errors import UsageError


def test_describe_gives_type_bounds_default_and_doc() -> None:
    assert str(describe("algo.clip_eps", algo="ppo2")) == (
        "algo.clip_eps\n"
        "  clip range ε: the ratio gains nothing outside 1 ± ε (eq. 7)\n"
        "  type     float\n"
        "  bounds   above 0\n"
        "  default  0.2\n"
        "  only in  ppo2"
    )
    hidden = describe("network.hidden")
    assert (hidden.type, hidden.bounds) == ("list of int", "each at least 1")
    assert hidden.default == "[64, 64]"
    assert describe("eval.every").type == "int, or null"
    assert describe("optimizer.schedule").type == "constant, linear"


@pytest.mark.parametrize("algo", ALGORITHM_CONFIGS)
def test_every_key_of_every_algorithm_is_documented(algo: str) -> None:
    for path in fields(algo):
        if path != "algo.name":
            assert describe(path, algo).doc, path


def test_describe_finds_the_algorithm_that_has_the_key() -> None:
    assert describe("algo.clip_eps").algorithms == ("ppo2",)
    undiscounted = {"reinforce", "reinforce-baseline"}
    assert set(describe("algo.gamma").algorithms) == {*ALGORITHM_CONFIGS} - undiscounted


def test_describe_names_the_defaults_that_algorithms_bring() -> None:
    text = str(describe("optimizer.lr"))
    assert "  default  0.0003\n" in text
    assert "           0.001 in trpo" in text
    assert describe("optimizer.lr", algo="trpo").default == "0.001"
    assert describe("optimizer.lr", algo="trpo").other_defaults == {}
    assert describe("rollout.episodes_per_env").algorithms == (
        "reinforce",
        "reinforce-baseline",
        "reward-to-go",
    )


def test_describe_names_algorithms_where_a_key_means_something_else() -> None:
    apart = [n for n, c in ALGORITHM_CONFIGS.items() if c.separate_policy_step]
    assert describe("algo.num_epochs").differs == tuple(apart)
    line = f"differs  in {', '.join(apart)}: see `--algo`"
    assert line in str(describe("algo.num_epochs"))
    assert describe("algo.num_epochs", algo="trpo").doc.startswith("passes of the crit")
    assert describe("algo.gamma").differs == ()


def test_describe_unknown_key_suggests() -> None:
    with pytest.raises(UsageError) as caught:
        describe("optimizer.lrr")
    assert caught.value.help == "did you mean `optimizer.lr`?"
    with pytest.raises(UsageError, match="`env` is a section"):
        describe("env")
    with pytest.raises(UsageError, match="unknown algorithm `zzz`"):
        describe("seed", algo="zzz")
    with pytest.raises(UsageError, match="unknown key"):
        describe("algo.clip_eps", algo="a2c")


def test_json_schema_has_every_section() -> None:
    schema = json_schema()
    assert {"algo", "env", "seed"} <= set(schema["properties"])
