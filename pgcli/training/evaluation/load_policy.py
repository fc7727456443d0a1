"""Loading of agents from checkpoints, for evaluation and for users' programs."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from pgcli.config.load import from_checkpoint
from pgcli.config.members import Member, config_of, members
from pgcli.config.schema import NO_MASK, RunConfig
from pgcli.envs import user_modules
from pgcli.envs.action_masks import flat_mask
from pgcli.envs.actions import host_action, row
from pgcli.envs.base import EnvSpec, ObsSpace, Space, mask_key
from pgcli.envs.host.obs_space_check import complaint
from pgcli.envs.spaces import by_part, spec_from_json
from pgcli.errors import CheckpointError, PgcliError, UsageError
from pgcli.nn.policy import Agent, Carry, Policy, act
from pgcli.runs_dir import RUNS_DIR
from pgcli.storage import checkpoint, json_files, manifest
from pgcli.storage.run_directory import RunDirectory
from pgcli.training.backend.accelerator import find_devices
from pgcli.training.backend.precision import in_32_bits
from pgcli.training.run_meta import check_meta, not_a_run
from pgcli.training.seeds import role_key
from pgcli.training.state import check_finite, from_arrays
from pgcli.training.step import agent_shapes, make_setup


class Trained(NamedTuple):
    """A saved agent with its configuration and its origin.

    `env_modules` are the modules that its environment may come from; they are compared
    with those the user names, never imported.
    """

    path: Path
    run: str
    config: RunConfig
    spec: EnvSpec
    policy: Policy
    agent: Agent
    iteration: int
    env_modules: tuple[str, ...]
    member: Member | None = None


def find_checkpoint(target: str, runs_dir: Path, best: bool = False) -> Path:
    """Path of a checkpoint, or of the last or best checkpoint of a run.

    Raises:
      UsageError: the run or checkpoint does not exist.
      CheckpointError: the run has no checkpoint, or no best one.
    """
    # a checkpoint
    path = Path(target)
    if (path / manifest.NAME).is_file():
        if best:
            raise UsageError(
                "--best needs a run, and this is a checkpoint", where=target
            )
        return path

    # a run
    run = RunDirectory.find(target, runs_dir)
    if best:
        marked = run.best()
        if marked is None:
            raise CheckpointError(
                "no evaluation has chosen a best checkpoint yet",
                where=str(run.path),
                help="without --best, the last checkpoint is used",
            )
        path = run.checkpoints / marked[0]
        if not path.is_dir():  # damaged and set aside, or deleted
            raise CheckpointError(
                f"the best checkpoint, {marked[0]}, is no longer there",
                where=str(run.path),
                help="`pgcli resume` marks the best of those that are left; without "
                "--best, the last checkpoint is used",
            )
        return path
    committed = checkpoint.committed(run.checkpoints)
    if not committed:
        raise CheckpointError("there is no checkpoint yet", where=str(run.path))
    return committed[-1]


def load_agents(path: Path) -> list[Trained]:
    """The agents of a verified checkpoint: one, or one per member.

    Raises:
      UsageError: a network of the user is not named again.
      CheckpointError: it is missing, damaged, or does not fit its own configuration.
    """
    find_devices()  # raises, in words, if JAX has none
    # the manifest
    stored = checkpoint.load(path, {"agent"})
    check_meta(stored)
    where, iteration = str(path), stored.meta["iteration"]
    modules = stored.meta.get("env_modules")
    env_modules = _modules_of_run(path) if modules is None else tuple(modules)
    network_modules = stored.meta.get("network_modules", ())
    user_modules.require(network_modules, where, user_modules.NETWORK)
    try:
        config = from_checkpoint(stored.meta["config"], where)
        spec = spec_from_json(stored.meta["env"])
        if mask_key(spec.obs) is None:  # no search for masks: it was trained without
            config = config.with_values({"env.action_mask": NO_MASK})
        setup = make_setup(config, spec)
        template = agent_shapes(setup)
    except (LookupError, TypeError, ValueError, OverflowError, PgcliError) as error:
        if network_modules and isinstance(error, UsageError):
            raise  # a user's network that has changed
        raise not_a_run(error, stored) from None

    # the agents
    directory = RunDirectory(path.resolve().parent.parent)
    run = directory.name if directory.is_run() else str(stored.meta.get("run"))
    arrays = stored.groups["agent"]
    check_finite(arrays, where)

    def make(config: RunConfig, member: Member | None) -> Trained:
        # the member's part of arrays [M, …]
        own = arrays
        if member is not None:
            own = {name: of_member(x, member, where) for name, x in arrays.items()}
        agent = from_arrays(template, own, where)
        return Trained(
            path, run, config, spec, setup.policy, agent, iteration, env_modules, member
        )

    if not config.has_members:
        return [make(config, None)]
    return [make(config_of(config, member), member) for member in members(config)]


def _modules_of_run(path: Path) -> tuple[str, ...]:
    """The modules in meta.json of the run, for checkpoints that do not record them."""
    try:
        meta = json_files.read_object(RunDirectory(path.parent.parent).meta_json)
    except CheckpointError:  # the checkpoint itself is whole
        return ()
    return tuple((meta or {}).get("env_modules", ()))


def of_member(array: np.ndarray, member: Member, where: str) -> np.ndarray:
    """A member's part of an array [M, …]; a CheckpointError if it has none."""
    if array.ndim == 0 or len(array) <= member.index:
        raise CheckpointError(f"it contains no data of {member}", where=where)
    part: np.ndarray = array[member.index]
    return part


def load_agent(path: Path, member: str | None = None) -> Trained:
    """The agent of a verified checkpoint, or of the member that `find_member` finds.

    Raises as `find_member` and `load_agents`.
    """
    agents = load_agents(path)
    if member is None and agents[0].member is None:
        return agents[0]
    known = [trained.member for trained in agents if trained.member is not None]
    return agents[find_member(known, member, str(path)).index]


def find_member(known: Sequence[Member], text: str | None, where: str) -> Member:
    """The member that `SEED[,KEY=VALUE…]` identifies; a UsageError if it is not one."""
    if not known:
        raise UsageError("this is a single run: there are no members", where=where)
    # every part of the text must match
    parts = text.split(",") if text else []
    fits = [m for m in known if all(_matches(m, part) for part in parts)]
    if len(fits) == 1:
        return fits[0]

    # none or several: the message shows some to choose from
    shown = "; ".join(str(member) for member in (fits or known)[:4])
    raise UsageError(
        f"`--member {text}` matches {len(fits)} of {len(known)} members"
        if text
        else f"this run has {len(known)} members",
        where=where,
        help=f"--member SEED[,KEY=VALUE…] chooses one: {shown}"
        + (" …" if len(fits or known) > 4 else ""),
    )


def _matches(member: Member, part: str) -> bool:
    """Whether a member has the seed `SEED`, or the value in `KEY=VALUE`."""
    key, equals, value = part.partition("=")
    if not equals:
        key, value = "seed", part
    try:
        return key in member.label and float(member.label[key]) == float(value)
    except ValueError:
        return False


def _batch(space: ObsSpace, obs: Any) -> tuple[int, ...]:
    """The leading batch axis of `obs`: (N,) or (); a ValueError for other shapes."""
    if not isinstance(space, Space):
        name = next(iter(space))
        if not isinstance(obs, Mapping) or name not in obs:
            return ()  # the complaint about it names the keys
        return _batch(space[name], obs[name])
    shape = space.shape
    given: tuple[int, ...] = np.asarray(obs).shape
    if given == shape:
        return ()
    if given[1:] == shape and given:
        return given[:1]
    raise ValueError(
        f"an observation has shape {list(given)}; expected {list(shape)}, "
        f"or a batch [N{''.join(f', {n}' for n in shape)}]"
    )


class LoadedPolicy:
    """A trained policy as a function from observations to actions.

    Actions have the form that the environment expects: its own dtype, clipped to its
    bounds, or a NumPy integer if the action space is discrete and there is a single
    observation.

    A policy with a memory remembers the observations of its earlier calls, separately
    for each row of a batch: call `reset` where an episode begins.
    """

    @in_32_bits()
    def __init__(self, trained: Trained, deterministic: bool, seed: int) -> None:
        self.trained = trained
        self._count = 0
        self._key = role_key(seed, "reporting")
        self._carry: Carry = None
        self._start = np.zeros(0, bool)

        def step(agent: Agent, carry: Carry, obs: Any, start: Any, count: Any) -> Any:
            carry, dist = act(trained.policy, agent, carry, obs, start)
            if deterministic:
                return carry, dist.mode()
            key = jax.random.fold_in(self._key, count)
            return carry, dist.sample(dist.noise(key, start.shape))

        self._act = jax.jit(step)

    def reset(self, rows: Any = None) -> None:
        """Begins an episode: the memory of earlier observations is dropped.

        Args:
          rows: rows of the batch that begin one: indices, or a mask [N]; None for all,
            after which the batch may have another size. A policy without memory has
            nothing to drop.
        """
        if rows is None:
            self._carry = None
        elif self._carry is not None:
            self._start[rows] = True

    @in_32_bits()
    def __call__(self, obs: Any, mask: Any = None) -> Any:
        """The action for one observation, or the actions for a batch.

        Args:
          obs: one observation, or a batch [N, …].
          mask: the valid actions [L] or [N, L], 1 each, if the policy was trained with
            action masks and they are not part of the observation.

        Raises:
          ValueError: the observation or the mask does not fit the space of the
            training, or the batch has another size than before and the policy has a
            memory.
        """
        # a batch of observations [N, …], of one row if there is a single one
        spec = self.trained.spec
        obs = _with_mask(spec, obs, mask)
        if not isinstance(spec.obs, Space):
            obs = by_part(obs)
            if self.trained.config.env.obs_keys is not None:
                obs = {key: obs[key] for key in spec.obs if key in obs}
        batch = _batch(spec.obs, obs)
        problem = complaint(spec.obs, obs, batch)
        if problem is not None:
            raise ValueError(f"the observation {problem}")
        rows = _as_batch(spec.obs, obs, bool(batch))
        if not all(np.isfinite(x).all() for x in jax.tree.leaves(rows)):
            raise ValueError("the observation is not finite")

        # actions in the form of the environment
        self._begin(batch[0] if batch else 1)
        count = np.uint32(self._count % 2**32)
        self._carry, action = self._act(
            self.trained.agent, self._carry, rows, self._start, count
        )
        self._start = np.zeros_like(self._start)
        self._count += 1
        action = jax.tree.map(np.asarray, action)
        action = host_action(spec, self.trained.policy.squash(action))
        return action if batch else row(action, 0)

    def _begin(self, count: int) -> None:
        """Prepares the state for `count` observations."""
        policy = self.trained.policy
        if self._carry is not None and policy.recurrent and count != len(self._start):
            raise ValueError(
                f"{count} observations after {len(self._start)}: the policy has a "
                "memory; call reset() before a batch of another size"
            )
        if self._carry is None or count != len(self._start):
            self._carry = policy.initial_carry(count)
            self._start = np.ones(count, bool)


def _with_mask(spec: EnvSpec, obs: Any, mask: Any) -> Any:
    """The observation in the space of the training, with its action mask as a part.

    The mask is given or part of `obs`. Raises a ValueError if it is missing, does not
    fit, or the policy has none.
    """
    key = mask_key(spec.obs)
    if key is None or not isinstance(spec.obs, Mapping):
        if mask is not None:
            raise ValueError("the policy was trained without action masks")
        return obs
    rest = [name for name in spec.obs if name != key]
    parts: dict[str, Any] = {rest[0]: obs}
    if isinstance(obs, Mapping):
        parts = dict(obs)
    elif isinstance(obs, tuple):
        parts = by_part(obs)
    own = parts.pop(key, None)
    mask = own if mask is None else mask
    if mask is None:
        raise ValueError("the policy needs the valid actions: policy(obs, mask)")
    parts = by_part(parts)
    batched = rest[0] in parts and _batch(spec.obs[rest[0]], parts[rest[0]])
    try:
        rows = [flat_mask(spec.action, row) for row in (mask if batched else [mask])]
    except ValueError as error:
        raise ValueError(f"the action mask {error}") from None
    return {**parts, key: np.stack(rows) if batched else rows[0]}


def _as_batch(space: ObsSpace, obs: Any, batched: bool) -> Any:
    if not isinstance(space, Space):
        return {k: _as_batch(part, obs[k], batched) for k, part in space.items()}
    with np.errstate(over="ignore"):  # found to be not finite afterwards
        array = np.asarray(obs, space.dtype)
    return array if batched else array[None]


@in_32_bits()
def load_policy(
    path: str | Path,
    *,
    deterministic: bool = True,
    seed: int = 0,
    best: bool = False,
    member: str | None = None,
) -> LoadedPolicy:
    """The policy of a run or checkpoint, as `policy(obs) -> action`.

    With a memory (`network.memory`), `policy.reset()` begins an episode.

    Args:
      path: a run directory or a checkpoint; of a run, the last checkpoint is loaded.
      deterministic: whether to return the most probable action instead of a sample.
      seed: seed of the sampling.
      best: whether to load a run's best checkpoint instead of its last.
      member: text that identifies one of several members: `SEED[,KEY=VALUE…]`.

    Raises:
      UsageError: the run or member does not exist.
      CheckpointError: the checkpoint is missing, damaged or of another format.
    """
    checkpoint_path = find_checkpoint(str(path), RUNS_DIR, best)
    return LoadedPolicy(load_agent(checkpoint_path, member), deterministic, seed)
