"""Spaces: grids, draws and the combinations that are checked."""

import math

from pgcli.sweep import space
from pgcli.sweep.space import Dimension

LR = Dimension("optimizer.lr", "optimizer.lr", "log_uniform", (1e-4, 1e-2), 3)
EPOCHS = Dimension("algo.num_epochs", "algo.num_epochs", "integers", (1, 4))
HIDDEN = Dimension("network.hidden", "network.hidden", "choice", ([8], [8, 8]))
CLIP = Dimension("algo.clip_eps", "ppo2:clip", "choice", (0.1, 0.2))
ALGO = Dimension(
    "algo.name", "algo.name", "choice", ("ppo2", "a2c"), None, ((CLIP,), ())
)


def test_grid_changes_the_last_dimension_fastest() -> None:
    rows = space.grid((LR, HIDDEN))
    assert [(row["optimizer.lr"], row["network.hidden"]) for row in rows] == [
        (lr, hidden) for lr in (1e-4, 1e-3, 1e-2) for hidden in ("[8]", "[8, 8]")
    ]
    assert [row["algo.num_epochs"] for row in space.grid((EPOCHS,))] == [1, 2, 3, 4]


def test_grid_has_the_dimensions_of_a_branch_only_with_its_value() -> None:
    assert space.grid((ALGO,)) == [
        {"algo.name": "ppo2", "ppo2:clip": 0.1},
        {"algo.name": "ppo2", "ppo2:clip": 0.2},
        {"algo.name": "a2c"},
    ]


def test_values_are_keys_of_the_configuration() -> None:
    labels = {"algo.name": "ppo2", "ppo2:clip": 0.2, "network.hidden": "[8, 8]"}
    assert space.values((ALGO, HIDDEN), labels) == {
        "algo.name": "ppo2",
        "algo.clip_eps": 0.2,
        "network.hidden": [8, 8],
    }


def test_draws_depend_on_seed_and_number_only() -> None:
    dimensions = (LR, EPOCHS, ALGO)
    assert space.draw(dimensions, 0, 7) == space.draw(dimensions, 0, 7)
    assert space.draw(dimensions, 0, 7) != space.draw(dimensions, 0, 8)
    assert space.draw(dimensions, 0, 7) != space.draw(dimensions, 1, 7)


def test_log_uniform_draws_are_uniform_in_the_logarithm() -> None:
    draws = [space.draw((LR,), 0, n)["optimizer.lr"] for n in range(2000)]
    logs = [math.log10(float(x)) for x in draws if x is not None]
    assert min(logs) >= -4
    assert max(logs) <= -2
    # mean -3 with standard deviation 2/√12 = 0.58: four standard errors are 0.05
    assert abs(sum(logs) / 2000 + 3) < 0.05


def test_probes_contain_every_value_and_both_ends() -> None:
    probes = list(space.probes((LR, ALGO, HIDDEN)))
    assert {p["optimizer.lr"] for p in probes} == {1e-4, 1e-2}
    assert {p["algo.name"] for p in probes} == {"ppo2", "a2c"}
    assert {p["network.hidden"] for p in probes} == {"[8]", "[8, 8]"}
    assert {p.get("ppo2:clip") for p in probes} == {0.1, 0.2, None}
    assert all(("ppo2:clip" in p) == (p["algo.name"] == "ppo2") for p in probes)
