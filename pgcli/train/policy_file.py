"""Agents from checkpoints: for evaluation, and for a user's own program."""

from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from pgcli.config.load import from_mapping
from pgcli.config.schema import RunConfig
from pgcli.envs.base import Box, Discrete, EnvSpec, ObsSpace, env_action
from pgcli.envs.spaces import spec_from_json
from pgcli.errors import CheckpointError, UsageError
from pgcli.nn.policy import Agent, Policy, act
from pgcli.train import checkpoint, manifest
from pgcli.train.rundir import RunDirectory
from pgcli.train.seeds import role_key
from pgcli.train.state import from_arrays
from pgcli.train.step import init_agent, make_setup


class Trained(NamedTuple):
    """An agent with everything that is known of it."""

    path: Path
    run: str
    config: RunConfig
    spec: EnvSpec
    policy: Policy
    agent: Agent
    iteration: int


def find_checkpoint(target: str, runs_dir: Path, best: bool = False) -> Path:
    """The checkpoint that a user means.

    Args:
      target: path of a checkpoint, or path or name of a run.
      runs_dir: where names are looked up.
      best: of a run, the one that evaluated best; else its last.

    Raises:
      UsageError: there is no such run or checkpoint.
      CheckpointError: the run has no checkpoint, or none that is the best.
    """
    path = Path(target)
    if (path / manifest.NAME).is_file():
        if best:
            raise UsageError(
                "--best takes a run, and this is a checkpoint", where=target
            )
        return path
    run = RunDirectory.find(target, runs_dir)
    if best:
        marked = run.best()
        if marked is None:
            raise CheckpointError(
                "no evaluation has picked a best checkpoint yet",
                where=str(run.path),
                help="without --best the last checkpoint is taken",
            )
        return run.checkpoints / marked[0]
    found = checkpoint.committed(run.checkpoints)
    if not found:
        raise CheckpointError("there is no checkpoint yet", where=str(run.path))
    return found[-1]


def load_agent(path: Path) -> Trained:
    """The agent of a checkpoint, verified.

    Raises:
      CheckpointError: it is missing, damaged, or does not fit its own configuration.
    """
    stored = checkpoint.load(path, {"agent"})
    where = str(path)
    try:
        config = from_mapping(stored.meta["config"], source=where)
        spec = spec_from_json(stored.meta["env"])
        iteration = int(stored.meta["iteration"])
    except (KeyError, TypeError, ValueError, UsageError) as error:
        raise CheckpointError(
            f"its manifest is not one of a pgcli run: {error}", where=where
        ) from None
    setup = make_setup(config, spec)
    template = jax.eval_shape(lambda: init_agent(setup, jax.random.key(0)))
    agent = from_arrays(template, stored.groups["agent"], where)
    run = str(stored.meta.get("run", path.parent.parent.name))
    return Trained(path, run, config, spec, setup.policy, agent, iteration)


def _batched(space: ObsSpace, obs: Any) -> bool:
    """Whether `obs` has a batch axis in front.

    Raises:
      ValueError: its shape is neither one observation's nor a batch's.
    """
    if not isinstance(space, Box | Discrete):
        name = next(iter(space))
        return _batched(space[name], obs[name])
    shape = space.shape if isinstance(space, Box) else ()
    given = np.shape(obs)
    if given == shape:
        return False
    if given[1:] == shape and given:
        return True
    raise ValueError(
        f"an observation has shape {list(given)}; expected {list(shape)}, "
        f"or a batch [N{''.join(f', {n}' for n in shape)}]"
    )


class LoadedPolicy:
    """A trained policy as a function from observations to actions.

    Actions are in the environment's own form: clipped to its bounds, an int for a
    single discrete observation.
    """

    def __init__(self, trained: Trained, deterministic: bool, seed: int) -> None:
        """See `load_policy`."""
        self.trained = trained
        self._count = 0
        self._key = role_key(seed, "reporting")

        def step(agent: Agent, obs: Any, count: Any) -> Any:
            batch = jax.tree.leaves(obs)[0].shape[0]
            carry = trained.policy.initial_carry(batch)
            start = jnp.zeros(batch, bool)
            _, dist = act(trained.policy, agent, carry, obs, start)
            if deterministic:
                return dist.mode()
            key = jax.random.fold_in(self._key, count)
            return dist.sample(dist.noise(key, (batch,)))

        self._act = jax.jit(step)

    def __call__(self, obs: Any) -> Any:
        """The action for one observation, or the actions for a batch of them.

        Raises:
          ValueError: the observation has another shape than in training.
        """
        spec = self.trained.spec
        batched = _batched(spec.obs, obs)
        rows = _as_batch(spec.obs, obs, batched)
        action = np.asarray(
            self._act(self.trained.agent, rows, np.uint32(self._count % 2**32))
        )
        self._count += 1
        action = env_action(spec.action, action)
        if batched:
            return action
        return int(action[0]) if isinstance(spec.action, Discrete) else action[0]


def _as_batch(space: ObsSpace, obs: Any, batched: bool) -> Any:
    if not isinstance(space, Box | Discrete):
        return {k: _as_batch(part, obs[k], batched) for k, part in space.items()}
    dtype = space.dtype if isinstance(space, Box) else np.int32
    array = np.asarray(obs, dtype)
    return array if batched else array[None]


def load_policy(
    path: str | Path, *, deterministic: bool = True, seed: int = 0, best: bool = False
) -> LoadedPolicy:
    """The policy of a run or checkpoint, as `policy(obs) -> action`.

    Args:
      path: a run directory (its last checkpoint) or a checkpoint.
      deterministic: take the most probable action; else sample.
      seed: of the sampling.
      best: of a run, the checkpoint that evaluated best.

    Raises:
      UsageError: there is no such run.
      CheckpointError: the checkpoint is missing, damaged or of another format.
    """
    found = find_checkpoint(str(path), Path("runs"), best)
    return LoadedPolicy(load_agent(found), deterministic, seed)
