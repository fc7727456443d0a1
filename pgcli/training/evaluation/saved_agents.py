"""Agents saved in checkpoints, alone or as members of a run."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from pgcli.config.load import from_checkpoint
from pgcli.config.members import Member, config_of, members
from pgcli.config.schema import NO_MASK, RunConfig
from pgcli.envs import user_modules
from pgcli.envs.base import EnvSpec, mask_key
from pgcli.envs.spaces import spec_from_json
from pgcli.errors import CheckpointError, PgcliError, UsageError
from pgcli.nn.policy import Agent, Policy
from pgcli.storage import checkpoint, json_files, manifest
from pgcli.storage.run_directory import RunDirectory
from pgcli.training.backend.accelerator import find_devices
from pgcli.training.run_meta import check_meta, not_a_run
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
