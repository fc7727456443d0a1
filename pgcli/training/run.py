"""`train` and `resume`: from a configuration to a result."""

import contextlib
import dataclasses
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

from flax.traverse_util import flatten_dict

from pgcli import versions
from pgcli.config.load import Resolved, resolve, to_mapping, to_yaml
from pgcli.config.schema import RunConfig
from pgcli.envs import user_modules
from pgcli.envs.registry import (
    helpers_of,
    make_device_env,
    make_host_env,
    on_device,
)
from pgcli.errors import AcceleratorError, UsageError
from pgcli.storage import run_name
from pgcli.storage.loggers import require_packages
from pgcli.storage.run_directory import RunDirectory
from pgcli.training.backend import layout
from pgcli.training.device_loop import DeviceLoop
from pgcli.training.host_loop import HostLoop
from pgcli.training.loop import Loop
from pgcli.training.members.extract_member import split_off
from pgcli.training.members.loops import DeviceMembers, HostMembers
from pgcli.training.reporter import Reporter, RunInfo, Silent, Status
from pgcli.training.seeds import env_seeds
from pgcli.training.session import Session
from pgcli.training.stop_signals import Interrupted, StopFlag, stop_on_signal

__all__ = ["Interrupted", "Reporter", "RunInfo", "Silent", "Status", "resume", "train"]


MAY_DIFFER = (
    "steps",
    "eval.every",
    "checkpoint.every",
    "env.workers",
    "env.timeout",
)
"""Keys whose values a run that goes on may change: they change no result up to here."""

MOST_WITH_WORKERS = 8
"""Runs side by side above which `env.workers: auto` starts none: each would have its
own, and they take turns anyway."""


def train(
    resolved: Resolved,
    *,
    runs_dir: str | Path = "runs",
    name: str | None = None,
    resume: Literal["never", "auto"] = "never",
    overwrite: bool = False,
    reporter: Reporter | None = None,
) -> dict[str, Any]:
    """Trains an agent in a new run directory.

    Args:
      resolved: the configuration, and where its values came from.
      runs_dir: where runs are kept.
      name: the run's name; None for a new one.
      resume: `auto` goes on with a run of that name, or returns its result where it
        is finished.
      overwrite: replace a run of that name.
      reporter: who watches.

    Returns:
      The result, as `train --json` prints it.

    Raises:
      PgcliError: as its subclasses say; `Interrupted` after a signal.
    """
    runs_dir, reporter = Path(runs_dir), reporter or Silent()
    config = resolved.config
    if name is not None:
        run_name.check(name)
    require_packages(config.log.sinks)
    with stop_on_signal() as stop:
        if resume == "auto" and name is not None:
            run = RunDirectory(runs_dir / name)
            if run.is_run() and run.config_yaml.is_file():
                return _continue(run, config, _stored(run), reporter, stop)
            overwrite = overwrite or run.is_unfinished()
        backend = layout.start(config)
        env = _make_env(config)
        meta = {
            "algo": config.algo.name,
            "env": config.env.id,
            "seed": config.seed,
            "preset": resolved.preset,
            "env_modules": list(user_modules.NAMED),
            "accelerator": backend.accelerator.fingerprint(),
            "helpers": helpers_of(env),
            "versions": versions.recorded(),
        }
        with _writable(runs_dir):
            run = RunDirectory.create(
                runs_dir, name, config.algo.name, config.env.id, overwrite
            )
        with run.lock():
            with _writable(run.path):
                run.write_meta(meta)
                run.write_config(to_yaml(config))
            return _session(resolved, run, env, backend, reporter, stop)


def resume(
    run: str | Path,
    *,
    runs_dir: str | Path = "runs",
    steps: int | None = None,
    require_exact: bool = False,
    member: str | None = None,
    reporter: Reporter | None = None,
) -> dict[str, Any]:
    """Goes on with a run from its newest checkpoint that verifies.

    Args:
      run: the run's name or path.
      runs_dir: where names are looked up.
      steps: a new budget; None for the run's own.
      require_exact: refuse anything less than an exact resume.
      member: of runs side by side, which one goes on, as a run of its own beside them:
        `SEED[,KEY=VALUE…]`.
      reporter: who watches.

    Returns:
      The result, as `train --json` prints it.

    Raises:
      PgcliError: as its subclasses say; `Interrupted` after a signal.
    """
    directory = RunDirectory.find(str(run), Path(runs_dir))
    if member is not None:
        with _writable(directory.path.parent):
            directory = split_off(directory, member, directory.path.parent)
    stored = _stored(directory)
    config = stored.config
    if steps is not None:
        config = dataclasses.replace(config, steps=steps)
    with stop_on_signal() as stop:
        return _continue(
            directory, config, stored, reporter or Silent(), stop, require_exact
        )


@contextlib.contextmanager
def _writable(path: Path) -> Iterator[None]:
    """A disk that refuses, before training has begun, is the user's to see to."""
    try:
        yield
    except OSError as error:
        raise UsageError(
            f"the run directory cannot be written: {error.strerror or error}",
            where=str(error.filename or path),
            help="free some space, or choose another --runs-dir",
        ) from None


def _stored(run: RunDirectory) -> Resolved:
    path = run.config_yaml
    if not path.is_file():
        raise UsageError("the run has no config.yaml", where=str(run.path))
    stored = resolve(file=path, flags={}, sets=[])
    return dataclasses.replace(stored, preset=run.read_meta().get("preset"))


def _continue(
    run: RunDirectory,
    config: RunConfig,
    stored: Resolved,
    reporter: Reporter,
    stop: StopFlag,
    require_exact: bool = False,
) -> dict[str, Any]:
    """Goes on with a `stored` run under a configuration that may differ a little."""
    _check_same(run, stored.config, config)
    with run.lock():
        result = run.read_result()
        if result is not None and _is_finished(result, config):
            return result
        user_modules.require(run.read_meta().get("env_modules", ()), str(run.path))
        require_packages(config.log.sinks)
        recorded = run.read_meta().get("accelerator", {})
        backend = layout.start(config, recorded)
        env = _make_env(config)
        return _session(
            dataclasses.replace(stored, config=config),
            run,
            env,
            backend,
            reporter,
            stop,
            stored=stored.config,
            require_exact=require_exact,
        )


def _is_finished(result: Mapping[str, Any], config: RunConfig) -> bool:
    """Whether a result answers what is asked: its budget spent, or its return met."""
    if result["stopped"] == "until_return":
        return bool(config.steps <= result["steps"]["asked"])
    return bool(result["steps"]["used"] >= config.steps)


def _check_same(run: RunDirectory, stored: RunConfig, asked: RunConfig) -> None:
    """Refuses to go on with settings that the run would not have been the same with."""
    before, now = (flatten_dict(to_mapping(x), sep=".") for x in (stored, asked))
    differing = [
        f"{key}: {before.get(key)} in the run, {now.get(key)} asked"
        for key in sorted(before.keys() | now.keys())
        if before.get(key) != now.get(key) and key not in MAY_DIFFER
    ]
    if differing:
        raise UsageError(
            "the run was started with another configuration: "
            + "; ".join(differing[:5]),
            where=str(run.path),
            help="choose another --name, or --overwrite",
        )


def _uncrowded(config: RunConfig) -> RunConfig:
    """Where each of many runs would have workers of its own: without, unless asked."""
    if config.env.workers != "auto" or config.num_members <= MOST_WITH_WORKERS:
        return config
    return dataclasses.replace(config, env=dataclasses.replace(config.env, workers=0))


def _make_env(config: RunConfig) -> Any:
    """The environments, before a run directory exists: most mistakes show here."""
    if on_device(config.env.id):
        return make_device_env(config.env)
    config = _uncrowded(config)
    num_envs = config.env.num_envs
    return make_host_env(
        config.env, num_envs, env_seeds(config.seed, "train", num_envs)
    )


def _make_loop(config: RunConfig, env: Any, mesh: Any) -> Loop:
    device = on_device(config.env.id)
    if config.has_members:
        if device:
            return DeviceMembers(config, env, mesh)
        return HostMembers(_uncrowded(config), _make_env, env)
    if device:
        return DeviceLoop(config, env, mesh=mesh)
    return HostLoop(config, env, mesh=mesh)


def _session(
    resolved: Resolved,
    run: RunDirectory,
    env: Any,
    backend: layout.Backend,
    reporter: Reporter,
    stop: StopFlag,
    *,
    stored: RunConfig | None = None,
    require_exact: bool = False,
) -> dict[str, Any]:
    """Trains to the end; a run with a `stored` configuration from its checkpoint."""
    config = resolved.config
    try:
        loop = _make_loop(config, env, backend.mesh)
        session = Session(
            resolved, run, loop, env.spec, backend.accelerator, reporter, stop
        )
        session.helpers = helpers_of(env)
        try:
            if stored is not None:
                session.restore(require_exact)
                if config != stored:
                    with _writable(run.path):
                        run.write_config(to_yaml(config))
            return session.train()
        finally:
            session.close()
    except RuntimeError as error:
        # jaxlib's XlaRuntimeError, which has no public name of its own
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise
        raise AcceleratorError(
            "the accelerator ran out of memory",
            help="lower env.num_envs or rollout.num_steps",
        ) from error
