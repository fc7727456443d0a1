"""Host environments as plain data, which any process can construct."""

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pgcli.config.env_wrappers import may_change_returns
from pgcli.config.schema import AUTO_MASK, NO_MASK, EnvConfig
from pgcli.envs import user_modules
from pgcli.envs.failures import close_quietly
from pgcli.envs.host import atari
from pgcli.envs.host.registered import make_registered
from pgcli.envs.registry import import_package, registered_name
from pgcli.envs.waiting import Waits

FAMILIES: Mapping[str, tuple[str, ...]] = {
    "MiniGrid-": ("ImgObsWrapper",),
    "BabyAI-": ("ImgObsWrapper",),
}
"""Prefix of a name -> default wrappers of those environments.

MiniGrid's own observation contains a sentence in addition to the image.
"""


@dataclass(frozen=True)
class EnvFactory:
    """A description of one host environment. A call makes one, with its wrappers.

    Attributes:
      id: the configured id; errors name the environment by it.
      name: its registered name in Gymnasium.
      max_episode_steps: time limit; None for the registered one.
      wrappers: the innermost first, as in `env.wrappers`.
      obs_keys: parts of the observations to keep; None for all.
      atari: whether it is an Atari game with the usual preprocessing.
      raw_returns: whether it lists the returns beneath its wrappers.
      action_mask: source of its action masks, as in `env.action_mask`.
    """

    id: str
    name: str
    kwargs: Mapping[str, Any]
    max_episode_steps: int | None
    wrappers: tuple[Any, ...]
    atari: bool
    obs_keys: tuple[str, ...] | None = None
    raw_returns: bool = False
    action_mask: str = NO_MASK

    def for_evaluation(self) -> "EnvFactory":
        """This factory, with `raw_returns` if the wrappers may change returns."""
        raw = may_change_returns(self.wrappers)
        return dataclasses.replace(self, raw_returns=raw)

    def __call__(self) -> Any:
        """A new Gymnasium environment, not yet reset.

        Raises:
          UsageError: unknown id, missing package (named, with the extra), or arguments
            or wrappers that do not fit.
          EnvironmentFailed: its constructor failed otherwise.
        """
        if _KEPT and _KEPT[0][0] == self:
            return _KEPT.pop()[1]
        from pgcli.envs.host.wrappers import RawReturns, with_parts  # imports gymnasium

        with Waits(self):
            source, made = self._mask_source()
            env, rewards = made or self._in_wrappers()
            env = with_parts(env, self.id, self.obs_keys, source)
            return env if rewards is None else RawReturns(env, rewards)

    def _in_wrappers(self) -> tuple[Any, Any]:
        """(a new environment in the configured wrappers, its `RawRewards` or None)."""
        from pgcli.envs.host.wrappers import RawRewards, wrap  # imports gymnasium

        make = atari.make_game if self.atari else make_registered
        env = make(self.id, self.name, self.kwargs, self.max_episode_steps)
        rewards = RawRewards(env) if self.raw_returns else None
        return wrap(rewards or env, self.wrappers, self.id), rewards

    def _mask_source(self) -> tuple[str, Any]:
        """(source of action masks, result of `_in_wrappers` if it was needed, or None).

        If only `info` can show masks, an environment is made and reset; it is closed
        afterwards, so that all others are new.
        """
        if self.action_mask != AUTO_MASK:
            return self.action_mask, None
        # a window is opened for the environment that is used only
        kwargs, human = self.kwargs, self.kwargs.get("render_mode") == "human"
        if human:
            kwargs = {key: x for key, x in kwargs.items() if key != "render_mode"}
        plain = dataclasses.replace(self, raw_returns=False, kwargs=kwargs)
        for known, source in _SOURCES:
            if known == plain:
                return source, None
        from pgcli.envs.host.action_masks import find_source  # imports gymnasium

        made = (plain if human else self)._in_wrappers()
        source, is_new = find_source(made[0])
        _SOURCES.append((plain, source))
        if is_new and not human:
            return source, made
        close_quietly(made[0])
        return source, None

    def with_mask_source(self) -> "EnvFactory":
        """This factory with the source of action masks instead of `auto`."""
        with Waits(self):
            source, made = self._mask_source()
            if made is not None:
                close_quietly(made[0])
        return dataclasses.replace(self, action_mask=source)

    def keep_one(self) -> Any:
        """A new environment, not to be reset, which the next call returns again.

        A process can have only one of some simulators, and others take long to start.
        """
        close_kept()
        env = self()
        _KEPT.append((self, env))
        return env

    def whereabouts(self) -> str:
        """See `Waited.whereabouts`."""
        return f"the constructor of {self.id}"

    def progress(self) -> object:
        """See `Waited.progress`: a constructor is one call."""
        return None

    def to_text(self) -> str:
        """The factory as text, with the modules and registrations that it needs.

        Raises:
          TypeError: the keyword arguments are not plain data.
        """
        json.dumps(dataclasses.asdict(self))  # raises before an environment is made
        data = {
            "factory": dataclasses.asdict(self.with_mask_source()),
            "modules": user_modules.NAMED,
            "registered": _registered(self.name),
        }
        return json.dumps(data, sort_keys=True)

    @classmethod
    def from_text(cls, text: str) -> "EnvFactory":
        """The inverse of `to_text`, ready to make environments in this process."""
        # import the modules that register environments, then the stored registration
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
        for key in ("wrappers", "obs_keys"):
            values[key] = None if values[key] is None else tuple(values[key])
        return cls(**values)


_SOURCES: list[tuple[EnvFactory, str]] = []
"""(factory with `auto`, the source of masks that was found in its environment)."""

_KEPT: list[tuple[EnvFactory, Any]] = []
"""The environment that `keep_one` has made, unless it has been returned again."""


def close_kept() -> None:
    """Closes the environment of `keep_one` if no call has returned it again."""
    if _KEPT:
        close_quietly(_KEPT.pop()[1])


def env_factory(config: EnvConfig) -> EnvFactory:
    """The factory of the host environment that a configuration names.

    Raises:
      UsageError: unknown id, missing package, or a module that is not named on the
        command line.
    """
    # wrappers: as configured, else those of the family
    name = registered_name(config)
    wrappers = config.wrappers
    if wrappers is None and config.obs_keys is not None:
        wrappers = ()
    elif wrappers is None:
        wrappers = next((w for key, w in FAMILIES.items() if name.startswith(key)), ())
    return EnvFactory(
        config.id,
        name,
        config.kwargs,
        config.max_episode_steps,
        wrappers,
        config.backend == "atari",
        config.obs_keys,
        # games of Atari have none
        action_mask=NO_MASK if config.backend == "atari" else config.action_mask,
    )


def _registered(name: str) -> str | None:
    """The registration of an environment as JSON; None if it has no JSON form."""
    import gymnasium

    spec = gymnasium.registry.get(name)
    try:
        return None if spec is None else spec.to_json()
    except (TypeError, ValueError):  # its entry point is an object
        return None
