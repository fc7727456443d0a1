"""`--env-module`: ids of user modules, and errors of such modules."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gymnasium
import jax
import numpy as np
import pytest

from pgcli.config.schema import EnvConfig
from pgcli.envs import user_modules
from pgcli.envs.make import make_device_env, make_host_env
from pgcli.envs.registry import list_envs
from pgcli.errors import EnvironmentFailed, ExitCode, UsageError

HERE = Path(__file__).parents[1] / "support"
REGISTERING = """
gymnasium.register("Rooms-v0", Rooms, max_episode_steps=20)
gymnasium.register("Lamps-v0", "user_module:Lamps", max_episode_steps=20)
"""


@pytest.fixture(autouse=True)
def afresh(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    """Starts without modules in an empty directory, and restores both afterwards."""
    monkeypatch.setattr(user_modules, "NAMED", [])
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    for id in ("Rooms-v0", "Lamps-v0"):
        gymnasium.registry.pop(id, None)
    for name in ("user_module", "broken_env"):
        sys.modules.pop(name, None)


@pytest.fixture
def user(afresh: Path) -> str:
    """The name of a module in the current directory, named on the command line."""
    text = (HERE / "user_module.py").read_text(encoding="utf-8")
    (afresh / "user_module.py").write_text(text + REGISTERING, encoding="utf-8")
    user_modules.use(["user_module"])
    return "user_module"


def make(env_id: str, **config: Any) -> Any:
    return make_host_env(EnvConfig(env_id, **config), [0])


@pytest.mark.parametrize("env_id", ["Rooms-v0", "user_module:Rooms-v0", "Lamps-v0"])
def test_named_module_registers_environments(user: str, env_id: str) -> None:
    env = make(env_id)
    assert env.spec.id == env_id
    assert env.spec.max_episode_steps == 20
    assert {row.id for row in list_envs("lamps")} == {"Lamps-v0"}


@pytest.mark.parametrize(
    ("env_id", "help"),
    [
        ("user_modul:Rooms-v0", "`user_module:Rooms-v0`"),
        ("os:Rooms-v0", "--env-module os"),
        ("user_module:Roms-v0", "`user_module:Rooms-v0`"),
        ("user_module:Walk", "`func:Walk`"),
    ],
)
def test_ids_that_name_a_module_are_explained(
    user: str, env_id: str, help: str
) -> None:
    with pytest.raises(UsageError) as caught:
        make(env_id)
    assert env_id in caught.value.message
    assert help in (caught.value.help or "")


@pytest.mark.parametrize(
    ("name", "message", "help"),
    [
        ("user_modul", "there is no such module", "`user_module`"),
        ("zzzz", "there is no such module", "current directory"),
        ("user_module.py", "not the name of a module", "--env-module user_module"),
        ("a/b.py", "not the name of a module", "--env-module a.b"),
        ("a b", "not the name of a module", "import my_pkg"),
    ],
)
def test_names_of_no_module_are_refused_at_once(
    user: str, name: str, message: str, help: str
) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        user_modules.use([name])
    assert help in (caught.value.help or "")


@pytest.mark.parametrize(
    ("source", "message", "shown"),
    [
        ("x = 1\ny = x / 0\n", "ZeroDivisionError: division by zero", "y = x / 0"),
        ("def f(:\n", "SyntaxError: ", "def f(:"),
        ("import not_there_at_all\n", "No module named 'not_there_at_all'", "line 1"),
        ("raise SystemExit(3)\n", "SystemExit: 3", "raise SystemExit(3)"),
    ],
)
def test_import_errors_show_the_modules_own_lines(
    afresh: Path, source: str, message: str, shown: str
) -> None:
    (afresh / "broken_env.py").write_text(source, encoding="utf-8")
    user_modules.use(["broken_env"])
    with pytest.raises(user_modules.ModuleError) as caught:
        make("Any-v0")
    assert caught.value.exit_code == ExitCode.USAGE
    assert message in caught.value.message
    text = caught.value.render()
    assert "broken_env.py" in text
    assert shown in text
    for ours in ("pgcli/envs", "importlib"):
        assert ours not in text


def test_missing_submodule_is_no_import_error_of_the_module(user: str) -> None:
    user_modules.use(["user_module.inner"])
    with pytest.raises(UsageError, match="there is no such module"):
        make("CartPole-v1")


def test_an_installed_module_is_not_taken_for_a_file_of_its_name(afresh: Path) -> None:
    (afresh / "colorsys.py").write_text("", encoding="utf-8")
    sys.modules.pop("colorsys", None)
    user_modules.use(["colorsys"])
    with pytest.raises(UsageError, match=r"not colorsys\.py of this directory"):
        make("CartPole-v1")


def test_another_process_uses_what_was_named(user: str, afresh: Path) -> None:
    code = (
        "from pgcli.envs import user_modules as modules\n"
        "from pgcli.envs.host.env_factory import env_factory\n"
        "from pgcli.config.schema import EnvConfig\n"
        f"modules.use({user_modules.NAMED})\n"
        "print(env_factory(EnvConfig('Rooms-v0'))().spec.id)\n"
    )
    root = str(HERE.parents[1])
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path.insert(0, {root!r})\n{code}"],
        cwd=afresh,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "Rooms-v0"


def test_a_run_is_gone_on_with_only_once_its_modules_are_named(user: str) -> None:
    user_modules.require(["user_module"], "runs/a")
    with pytest.raises(UsageError, match="--env-module other") as caught:
        user_modules.require(["user_module", "other"], "runs/a")
    assert caught.value.where == "runs/a"


def first_step(env_id: str, **config: Any) -> Any:
    env = make_device_env(EnvConfig(env_id, **config))

    def run(key: Any) -> Any:
        state, obs = env.reset(key)
        return obs, env.step(key, state, np.int32(1))[1]

    return env, jax.jit(run)(jax.random.key(0))


def test_functional_environment_takes_parameters_and_arguments(user: str) -> None:
    # a stride of 0.5 to the right, by indexing; the reward is −|s' − goal|
    env, (obs, step) = first_step(
        "func:Walk", kwargs={"goal": 2.0, "stride": 0.5}, max_episode_steps=9
    )
    assert env.spec.max_episode_steps == 9
    np.testing.assert_allclose(step.obs, obs + 0.5, rtol=1e-6)
    np.testing.assert_allclose(step.reward, -abs(step.obs[0] - 2.0), rtol=1e-6)
    assert not step.terminated


def test_functional_environment_can_be_an_instance_with_its_own_limit(
    user: str,
) -> None:
    env, (obs, step) = first_step("func:made")
    assert env.spec.max_episode_steps == 7
    np.testing.assert_allclose(step.obs, obs + 0.5, rtol=1e-6)
    assert "func:made" in {row.id for row in list_envs("func:")}


@pytest.mark.parametrize(
    ("env_id", "kwargs", "message", "help"),
    [
        ("func:Walk", {}, "needs a time limit", "env.max_episode_steps"),
        ("func:Limited", {"gaol": 1}, "no `gaol`", "`goal`"),
        ("func:Limited", {"strid": 1}, "no `strid`", "`stride`"),
        ("func:made", {"stride": 1}, "no `stride`", "goal"),
        ("func:Wlak", {}, "unknown environment", "`func:Walk`"),
    ],
)
def test_functional_environment_says_what_does_not_fit(
    user: str, env_id: str, kwargs: dict[str, Any], message: str, help: str
) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        make_device_env(EnvConfig(env_id, kwargs=kwargs))
    assert help in (caught.value.help or "")


def test_functional_environment_that_cannot_be_traced_is_explained(user: str) -> None:
    with pytest.raises(EnvironmentFailed, match="JAX cannot trace a step") as caught:
        make_device_env(EnvConfig("func:Branching"))
    assert "jnp.where" in (caught.value.help or "")
