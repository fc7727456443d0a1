"""One host environment as plain data: resolved once, made in any process."""

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pgcli.config.schema import EnvConfig
from pgcli.envs import user_modules
from pgcli.envs.host import atari
from pgcli.envs.host.registered import make_registered
from pgcli.envs.registry import import_package, registered_name

FAMILIES: Mapping[str, tuple[str, ...]] = {
    "MiniGrid-": ("ImgObsWrapper",),
    "BabyAI-": ("ImgObsWrapper",),
}
"""Beginnings of names -> wrappers of those environments unless configured otherwise.

MiniGrid's own observation holds a sentence beside the image.
"""


@dataclass(frozen=True)
class EnvFactory:
    """What one host environment is. A call makes one, in its wrappers.

    Attributes:
      id: as the configuration has it; how errors name the environment.
      name: under which it is registered in Gymnasium.
      kwargs: keyword arguments of its constructor.
      max_episode_steps: time limit; None for the registered one.
      wrappers: the innermost first, as in `env.wrappers`.
      atari: whether it is a game under the usual preprocessing.
    """

    id: str
    name: str
    kwargs: Mapping[str, Any]
    max_episode_steps: int | None
    wrappers: tuple[Any, ...]
    atari: bool

    def __call__(self) -> Any:
        """A new Gymnasium environment, not yet reset.

        Raises:
          UsageError: unknown id, missing package (named, with the extra), or arguments
            or wrappers that do not fit.
          EnvironmentFailed: its constructor failed otherwise.
        """
        from pgcli.envs.host.wrappers import wrap  # imports gymnasium

        make = atari.make_game if self.atari else make_registered
        env = make(self.id, self.name, self.kwargs, self.max_episode_steps)
        return wrap(env, self.wrappers, self.id)

    def to_text(self) -> str:
        """The factory as text, with what another process must import and register.

        Raises:
          TypeError: its keyword arguments are not plain data.
        """
        data = {
            "factory": dataclasses.asdict(self),
            "modules": user_modules.NAMED,
            "registered": _registered(self.name),
        }
        return json.dumps(data, sort_keys=True)

    @classmethod
    def from_text(cls, text: str) -> "EnvFactory":
        """The inverse of `to_text`, ready to make environments in this process."""
        data = json.loads(text)
        user_modules.use(data["modules"])
        user_modules.named()
        values = data["factory"]
        import_package(values["name"])
        if data["registered"] is not None:
            import gymnasium
            from gymnasium.envs.registration import EnvSpec

            spec = EnvSpec.from_json(data["registered"])
            gymnasium.registry.setdefault(spec.id, spec)
        return cls(**{**values, "wrappers": tuple(values["wrappers"])})


def env_factory(config: EnvConfig) -> EnvFactory:
    """The factory of the host environment that a configuration names.

    Raises:
      UsageError: unknown id, missing package, or a module that is not named on the
        command line.
    """
    name = registered_name(config)
    wrappers = config.wrappers
    if wrappers is None:
        wrappers = next((w for key, w in FAMILIES.items() if name.startswith(key)), ())
    return EnvFactory(
        config.id,
        name,
        config.kwargs,
        config.max_episode_steps,
        wrappers,
        config.backend == "atari",
    )


def _registered(name: str) -> str | None:
    """How another process registers an environment; None if it cannot."""
    import gymnasium

    spec = gymnasium.registry.get(name)
    try:
        return None if spec is None else spec.to_json()
    except (TypeError, ValueError):  # it names code by an object
        return None
