"""`train` and `resume`: from a configuration to a result."""

import contextlib
import dataclasses
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

from pgcli import versions
from pgcli.config.bounds import STEPS
from pgcli.config.dump import differences
from pgcli.config.load import Resolved, from_mapping, of_run, to_mapping, to_yaml
from pgcli.config.schema import STOPS, RunConfig
from pgcli.envs import user_modules
from pgcli.envs.make import make_device_env
from pgcli.errors import LockedError, UsageError
from pgcli.nn.own_networks import modules_of
from pgcli.runs_dir import RUNS_DIR
from pgcli.storage.loggers import require_packages
from pgcli.storage.run_directory import NameTakenError, RunDirectory
from pgcli.training import initial_weights, machine, resume_notes, space_defaults
from pgcli.training.backend import layout
from pgcli.training.backend.accelerator import Accelerator
from pgcli.training.backend.memory import memory_errors
from pgcli.training.backend.precision import in_32_bits
from pgcli.training.context import RunContext
from pgcli.training.distributed.leader import Leader, leading
from pgcli.training.distributed.processes import Processes
from pgcli.training.distributed.split_run import leading_loop
from pgcli.training.initial_weights import InitialWeights
from pgcli.training.loops.base import Loop
from pgcli.training.loops.device_loop import DeviceLoop
from pgcli.training.loops.host_loop import HostLoop
from pgcli.training.members.device_members import DeviceMembers
from pgcli.training.members.extract_member import split_off
from pgcli.training.members.host_members import HostMembers
from pgcli.training.members.tracker import MembersTracker
from pgcli.training.reporter import Reporter, RunInfo, Status
from pgcli.training.run_logs import RunLogs
from pgcli.training.session import Session
from pgcli.training.stop_signals import Interrupted, StopFlag, stop_on_signal
from pgcli.training.stops import OnIteration, Progress
from pgcli.training.tracker import RunTracker, Tracker

__all__ = [
    "Interrupted",
    "Progress",
    "Reporter",
    "RunInfo",
    "Status",
    "resume",
    "train",
]


class _Trainer(NamedTuple):
    """A loop before its first iteration, its tracker, and its accelerator."""

    loop: Loop
    tracker: Tracker
    accelerator: Accelerator


@in_32_bits()
def train(
    resolved: Resolved,
    *,
    runs_dir: str | Path = RUNS_DIR,
    name: str | None = None,
    resume: Literal["never", "auto"] = "never",
    overwrite: bool = False,
    reporter: Reporter | None = None,
    on_iteration: OnIteration | None = None,
    init_from: str | Path | None = None,
    recorded: Mapping[str, Any] | None = None,
    processes: Processes | None = None,
) -> dict[str, Any]:
    """The result of a new run, in a new run directory.

    Args:
      resolved: configuration of the run, and the origin of its values.
      runs_dir: directory of the runs.
      name: name of the run; None for an automatic one.
      resume: `auto` continues a run of that name, or returns its result if it is
        finished.
      overwrite: whether to replace a run of that name.
      reporter: receiver of reports; None for silence.
      on_iteration: called with a `Progress` after each iteration; False ends training
        as if the budget were used, None continues. What it raises ends the run after a
        checkpoint. On the device iterations are computed in chunks of about half a
        second, and it is called after the chunk.
      init_from: a run (name or path) or checkpoint whose weights and normaliser the
        new run begins with, as far as their shapes are equal.
      recorded: fingerprint of the accelerator of a run to be repeated, whose numbers
        of threads and devices are used again.
      processes: the processes of the run, of which this is process 0; None if it is
        the only one.

    Returns:
      The result, as `train --json` prints it.

    Raises:
      PgcliError: one of its subclasses; `Interrupted` after a signal.
    """
    # absolute, since an environment may change the working directory
    runs_dir, reporter = Path(runs_dir).absolute(), reporter or Reporter()
    config = resolved.config
    RunDirectory.check_name(runs_dir, name, resume, overwrite)
    with (
        stop_on_signal(reporter) as stop,
        leading(processes, config, reporter, stop) as leader,
    ):
        # continue a run of that name
        run = None
        if resume == "auto" and name is not None:
            run = RunDirectory(runs_dir / name)
            if os.path.lexists(run.meta_json):
                run = RunDirectory.open(run.path)  # raises an error if damaged
            if run.config_yaml.is_file():
                stored = _stored(run)
                return _continue(
                    run, stored, config, reporter, stop, False, on_iteration, leader
                )

        require_packages(config.log.sinks)
        # the loop comes first: most errors occur before a run directory is created
        with _trainer(config, recorded, leader) as trainer:
            text = space_defaults.warning(config, trainer.loop.spec.obs)
            if text is not None:
                reporter.warn(text)
            weights = None
            if init_from is not None:
                loop, source = trainer.loop, str(init_from)
                weights = initial_weights.take_over(loop, config, source, runs_dir)
                (reporter.warn if weights.fresh else reporter.note)(str(weights))
            try:
                with _writable(runs_dir):
                    # the remains of a killed start are replaced
                    overwrite = overwrite or (run is not None and run.is_unfinished())
                    run = RunDirectory.create(
                        runs_dir, name, config.algo.name, config.env.id, overwrite
                    )
            except NameTakenError as error:
                if resume == "never":
                    raise
                raise LockedError(
                    "another process has just started this run",
                    where=error.where,
                    help="wait for it or stop it, or choose another --name",
                ) from None
            stop.path = run.path
            # train while holding the lock
            with run.lock():
                with _writable(run.path):
                    run.write_meta(_meta(resolved, trainer, weights))
                    run.write_config(to_yaml(config))
                with _session(
                    resolved, run, trainer, reporter, stop, on_iteration
                ) as session:
                    return session.train()


@in_32_bits()
def resume(
    run: str | Path,
    *,
    runs_dir: str | Path = RUNS_DIR,
    steps: int | None = None,
    until_return: float | None = None,
    patience: int | None = None,
    max_seconds: float | None = None,
    require_exact: bool = False,
    member: str | None = None,
    reporter: Reporter | None = None,
    on_iteration: OnIteration | None = None,
    processes: Processes | None = None,
) -> dict[str, Any]:
    """The result of a run that continues from its newest verified checkpoint.

    Args:
      run: name or path of the run.
      runs_dir: directory of named runs.
      steps: new budget; None for that of the run.
      until_return: new target; None for that of the run.
      patience: new number of evaluations without a new best; None for that of the run.
      max_seconds: new limit of time, from the start of the run; None for the old one.
      require_exact: whether to raise an error if an exact resume is not possible.
      member: text that identifies a member, `SEED[,KEY=VALUE…]`. It continues as a
        separate run, in a directory next to that of the run.
      reporter: receiver of reports; None for silence.
      on_iteration: see `train`.
      processes: see `train`.

    Returns:
      The result, as `train --json` prints it.

    Raises:
      PgcliError: one of its subclasses; `Interrupted` after a signal.
    """
    # the run directory, that of a member if one is chosen
    directory = RunDirectory.find(str(run), Path(runs_dir).absolute())
    if member is not None:
        with _writable(directory.path.parent):
            directory = split_off(directory, member, directory.path.parent)

    # the configuration
    stored = _stored(directory)
    config, reporter = stored.config, reporter or Reporter()
    if stored.note is not None:
        reporter.warn(f"{directory.config_yaml}: {stored.note}")
    if steps is not None:
        if not 1 <= steps <= STEPS.value:
            raise UsageError(f"steps is {steps}; it must be at least 1, and below 2⁵³")
        config = dataclasses.replace(config, steps=steps)
    stops = zip(STOPS, (until_return, patience, max_seconds), strict=True)
    given = {key: value for key, value in stops if value is not None}
    if given:
        config = from_mapping(to_mapping(config) | given, source="resume")
    with (
        stop_on_signal(reporter) as stop,
        leading(processes, None, reporter, stop) as leader,
    ):
        exact = require_exact
        return _continue(
            directory, stored, config, reporter, stop, exact, on_iteration, leader
        )


@contextlib.contextmanager
def _writable(path: Path) -> Iterator[None]:
    """A write error before training starts is reported as a UsageError."""
    try:
        yield
    except OSError as error:
        raise UsageError(
            f"the run directory cannot be written: {error.strerror or error}",
            where=str(error.filename or path),
            help="free some space, or choose another --runs-dir",
        ) from None


def _stored(run: RunDirectory) -> Resolved:
    """The configuration of a run at its start."""
    path = run.config_yaml
    if not path.is_file():
        raise UsageError("the run has no config.yaml", where=str(run.path))
    stored = of_run(path)
    return dataclasses.replace(stored, preset=run.read_meta().get("preset"))


def _meta(
    resolved: Resolved, trainer: _Trainer, weights: InitialWeights | None
) -> dict[str, Any]:
    config = resolved.config
    return {
        "algo": config.algo.name,
        "env": config.env.id,
        "seed": config.seed,
        "preset": resolved.preset,
        "origins": dict(resolved.origins),
        "spaces": resolved.spaces,
        "env_modules": list(user_modules.NAMED),
        "network_modules": modules_of(config.network),
        "accelerator": trainer.accelerator.fingerprint(),
        "helpers": trainer.loop.helpers,
        "machine": machine.describe(),
        "versions": versions.recorded(),
        "init_from": None if weights is None else weights._asdict(),
    }


def _continue(
    run: RunDirectory,
    stored: Resolved,
    config: RunConfig,
    reporter: Reporter,
    stop: StopFlag,
    require_exact: bool,
    on_iteration: OnIteration | None,
    leader: Leader | None,
) -> dict[str, Any]:
    """The result of a run that continues, or is finished already.

    In `config`, only keys in `resume_notes.MAY_DIFFER` may differ from the stored one.
    """
    resume_notes.check_same(run, stored.config, config)
    stop.path = run.path
    with run.lock():
        # a finished run returns its result
        result = run.read_result()
        if result is not None and resume_notes.is_finished(result, config):
            reporter.note(resume_notes.finished(run.name, result))
            return result

        # otherwise, restore and train
        meta = run.read_meta()
        user_modules.require_all(meta, str(run.path))
        requested = dataclasses.replace(stored, config=config)
        with (
            _trainer(config, meta.get("accelerator"), leader) as trainer,
            _session(requested, run, trainer, reporter, stop, on_iteration) as session,
        ):
            session.restore(require_exact)
            warning = resume_notes.raised_schedules(
                stored.config, config, trainer.loop.steps, trainer.tracker.last_row
            )
            if warning is not None:
                reporter.warn(warning)
            if config != stored.config:
                changed = (key for key, *_ in differences(stored.config, config))
                origins = meta.get("origins", {}) | dict.fromkeys(changed, "resume")
                with _writable(run.path):
                    run.write_config(to_yaml(config))
                    run.write_meta({**meta, "origins": origins})
            return session.train()


@contextlib.contextmanager
def _trainer(
    config: RunConfig, recorded: Mapping[str, Any] | None, leader: Leader | None
) -> Iterator[_Trainer]:
    """Yields a loop with its environments, after JAX is started; closes it at the end.

    `recorded` is the fingerprint of the accelerator of a resumed run.
    """
    if leader is not None:
        with memory_errors(), leading_loop(config, recorded, leader) as parts:
            yield _Trainer(*parts)
        return
    backend = layout.start(config, recorded)
    with memory_errors():
        loop, tracker = _make_loop(config, backend)
        with contextlib.closing(loop):
            yield _Trainer(loop, tracker, backend.accelerator)


def _make_loop(config: RunConfig, backend: layout.Backend) -> tuple[Loop, Tracker]:
    """(loop, tracker): on the device or the host, of one run or of members."""
    if config.env.on_device:
        env = make_device_env(config.env)
        if not config.has_members:
            return (
                DeviceLoop(config, env, mesh=backend.mesh, ahead=True),
                RunTracker(),
            )
        on_device_members = DeviceMembers(config, env, backend.mesh, ahead=True)
        return on_device_members, MembersTracker(on_device_members)
    if not config.has_members:
        return HostLoop(config, mesh=backend.mesh), RunTracker()
    on_host_members = HostMembers(config)
    return on_host_members, MembersTracker(on_host_members)


@contextlib.contextmanager
def _session(
    resolved: Resolved,
    run: RunDirectory,
    trainer: _Trainer,
    reporter: Reporter,
    stop: StopFlag,
    on_iteration: OnIteration | None,
) -> Iterator[Session]:
    """Yields a session before its first iteration; closes its logs at the end."""
    with contextlib.closing(RunLogs(run, resolved.config, reporter)) as logs:
        loop, tracker, accelerator = trainer
        context = RunContext(resolved, run, loop, tracker, logs, accelerator, reporter)
        with contextlib.closing(Session(context, stop, on_iteration)) as session:
            yield session
