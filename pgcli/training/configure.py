"""`configure`: the configuration of a run, from Python values."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pgcli.config.load import Resolved, resolve
from pgcli.envs.full_id import full_id
from pgcli.training.space_defaults import look


def configure(
    *,
    algo: str | None = None,
    env: str | None = None,
    file: str | Path | Sequence[str | Path] | None = None,
    preset: bool = True,
    **values: Any,
) -> Resolved:
    """Returns a complete, validated configuration, as `pgcli train` takes it.

    Sources, the later ones override: defaults, defaults of the algorithm, the preset of
    (algorithm, environment) or of its family, or `file`, then the arguments. Without a
    preset, the environment is made, and defaults are chosen by its spaces.

    Args:
      algo: name or alias of an algorithm; None for that of `file`, or ppo2.
      env: id of an environment; None for that of `file`, or CartPole-v1.
      file: a YAML file, or a preset by name such as `style/openai`, or several of
        them, of which the later ones override.
      preset: whether to use a preset, or defaults by spaces, without `file`.
      **values: keys of the configuration: `steps=20_000`, `seeds=4`,
        `**{"optimizer.lr": 1e-3}`. `pgcli config explain KEY` explains one.

    Raises:
      ConfigError: with every mistake at once.
      UsageError, EnvironmentFailed: an environment without a preset cannot be made.
    """
    given = {"algo.name": algo, "env.id": env}
    flags = {key: value for key, value in given.items() if value is not None} | values
    files = [file] if isinstance(file, str | Path) else file or ()
    return resolve(
        file=[Path(each) for each in files],
        flags={key: (_plain(value), key) for key, value in flags.items()},
        sets=(),
        use_preset=preset,
        spaces=look,
        full_id=full_id,
    )


def _plain(value: Any) -> Any:
    """Numbers and arrays of NumPy and JAX as Python's numbers and lists."""
    return value.tolist() if hasattr(value, "tolist") else value
