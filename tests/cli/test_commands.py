"""What the commands pass on, and how failures leave the process."""

import json
import unicodedata
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from support import fake_training

from pgcli.config.algorithms import ALGORITHM_CONFIGS
from pgcli.errors import (
    AcceleratorError,
    CheckpointError,
    DivergedError,
    EnvironmentFailed,
    ExitCode,
    LockedError,
    PgcliError,
    UsageError,
)

Run = Callable[..., Any]


def stop_with(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    """Training raises `error` after it began."""

    def train(resolved: Any, *, reporter: Any, **_: Any) -> Any:
        reporter.started(fake_training.info(path=Path("a-run")))
        reporter.progress(fake_training.status(10_000))
        raise error

    monkeypatch.setattr("pgcli.training.run", SimpleNamespace(train=train))


def the_only_object(text: str) -> dict[str, Any]:
    """stdout as JSON: one line, one object."""
    assert text.count("\n") == 1
    found = json.loads(text)
    assert isinstance(found, dict)
    return found


def test_train_passes_flags_on(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, Any] = {}

    def train(resolved: Any, **options: Any) -> Any:
        seen.update(options, config=resolved.config)
        return fake_training.RESULT

    monkeypatch.setattr("pgcli.training.run", SimpleNamespace(train=train))
    words = "train --algo a2c --env Pendulum-v1 --no-preset --seed 7 --steps 5e4"
    more = "--until-return -200.5 --accelerator cpu --name x --runs-dir d --resume auto"
    outcome = run(*words.split(), *more.split(), "--set", "optimizer.lr=0.5")
    assert outcome.code == 0
    config = seen["config"]
    assert (config.algo.name, config.env.id, config.seed) == ("a2c", "Pendulum-v1", 7)
    assert (config.steps, config.until_return) == (50_000, -200.5)
    assert (config.accelerator, config.optimizer.lr) == ("cpu", 0.5)
    assert (seen["name"], seen["runs_dir"]) == ("x", Path("d"))
    assert (seen["resume"], seen["overwrite"]) == ("auto", False)


def test_resume_passes_flags_on(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, Any] = {}

    def resume(name: str, **options: Any) -> Any:
        seen.update(options, run=name)
        return fake_training.RESULT

    monkeypatch.setattr("pgcli.training.run", SimpleNamespace(resume=resume))
    assert run("resume", "x", "--steps", "1_000", "--require-exact").code == 0
    assert (seen["run"], seen["steps"], seen["require_exact"]) == ("x", 1000, True)


def test_eval_passes_flags_on(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, Any] = {}

    def find_checkpoint(target: str, runs_dir: Path, best: bool) -> Path:
        seen.update(target=target, runs_dir=runs_dir, best=best)
        return Path("d/x/checkpoints/000000001")

    def evaluate(checkpoint: str, **options: Any) -> Any:
        seen.update(options, checkpoint=checkpoint)
        del seen["warn"]
        return fake_training.evaluate(checkpoint)

    room = "pgcli.training.evaluation"
    finder = SimpleNamespace(find_checkpoint=find_checkpoint)
    monkeypatch.setattr(f"{room}.saved_agents", finder)
    monkeypatch.setattr(f"{room}.evaluate", SimpleNamespace(evaluate=evaluate))
    words = "eval x --episodes 3 --best --env E-v0 --stochastic --seed 4 --runs-dir d"
    words += " --env-kwargs size=5 --set env.max_episode_steps=9"
    assert run(*words.split()).code == 0
    assert callable(seen.pop("watch"))
    assert seen == {
        "target": "x",
        "checkpoint": "d/x/checkpoints/000000001",
        "episodes": 3,
        "member": None,
        "best": True,
        "env_id": "E-v0",
        "env_kwargs": ["size=5"],
        "env_sets": ["env.max_episode_steps=9"],
        "agent": "trained",
        "on_screen": False,
        "deterministic": False,
        "seed": 4,
        "runs_dir": Path("d"),
    }


def test_eval_of_a_missing_run_reports_only_the_error(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def find_checkpoint(*_: Any) -> Path:
        raise UsageError("there is no run `nosuch`")

    finder = SimpleNamespace(find_checkpoint=find_checkpoint)
    monkeypatch.setattr("pgcli.training.evaluation.saved_agents", finder)
    outcome = run("eval", "nosuch")
    assert (outcome.code, outcome.err) == (2, "error: there is no run `nosuch`\n")


def test_eval_min_return_reached_exits_0(run: Run) -> None:
    assert run("eval", "r", "--min-return", "300").code == 0


def test_eval_nan_return_is_below_any_minimum(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = fake_training.EVALUATION | {"return_mean": float("nan")}
    module = SimpleNamespace(evaluate=lambda *_, **__: dict(result))
    monkeypatch.setattr("pgcli.training.evaluation.evaluate", module)
    outcome = run("eval", "r", "--min-return", "-1e9", "--json")
    assert outcome.code == 8
    assert the_only_object(outcome.out)["return_mean"] is None


@pytest.mark.parametrize(
    ("name", "first", "last"),
    [
        ("e.csv", "episode,env,seed,return,length", "1,1,12,400.0,400"),
        (
            "e.jsonl",
            '{"episode": 0, "env": 0, "seed": 11, "return": 200.0, "length": 200}',
            '{"episode": 1, "env": 1, "seed": 12, "return": 400.0, "length": 400}',
        ),
    ],
)
def test_eval_episodes_out_writes_one_row_per_episode(
    run: Run, name: str, first: str, last: str
) -> None:
    assert run("eval", "r", "--episodes-out", name, "--json").code == 0
    lines = Path(name).read_text().splitlines()
    assert (lines[0], lines[-1]) == (first, last)


def test_eval_episodes_out_without_directory_is_usage_error(run: Run) -> None:
    outcome = run("eval", "r", "--episodes-out", "nowhere/e.csv")
    assert (outcome.code, outcome.out) == (2, "")


@pytest.mark.parametrize(
    ("error", "code", "name"),
    [
        (UsageError("m"), 2, "usage"),
        (EnvironmentFailed("m"), 3, "environment"),
        (CheckpointError("m"), 4, "checkpoint"),
        (DivergedError("m"), 5, "diverged"),
        (AcceleratorError("m"), 6, "accelerator"),
        (LockedError("m"), 7, "locked"),
        (KeyboardInterrupt(), 130, "interrupted"),
        (RuntimeError("m"), 1, "unexpected"),
    ],
)
def test_failure_has_exit_code_and_one_json_object(
    run: Run,
    monkeypatch: pytest.MonkeyPatch,
    error: BaseException,
    code: int,
    name: str,
) -> None:
    stop_with(monkeypatch, error)
    outcome = run("train", "--no-preset", "--json")
    described = the_only_object(outcome.out)
    assert outcome.code == described["error"]["exit_code"] == code
    assert described["ok"] is False
    assert described["error"]["code"] == name
    assert set(described["error"]) == {"code", "exit_code", "message", "where", "help"}


def test_interrupted_training_reports_its_result(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = fake_training.RESULT | {"stopped": "signal"}
    error = PgcliError("stopped by SIGTERM", help="pgcli resume a-run", result=result)
    error.exit_code = ExitCode.TERMINATED
    stop_with(monkeypatch, error)
    outcome = run("train", "--no-preset", "--json")
    described = the_only_object(outcome.out)
    assert outcome.code == 143
    assert (described["ok"], described["stopped"]) == (False, "signal")
    assert described["error"]["code"] == "terminated"


def test_unexpected_failure_is_two_lines_and_a_log(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("a-run").mkdir()
    stop_with(monkeypatch, ValueError("first line\nsecond line"))
    outcome = run("train", "--no-preset", "-q")
    assert outcome.err.splitlines() == [
        "error: unexpected failure: ValueError: first line",
        "  help: this is a bug in pgcli; the traceback is in a-run/log.txt",
    ]
    assert "Traceback (most recent call last)" in Path("a-run/log.txt").read_text()


def test_failing_environment_says_where_its_traceback_is(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop_with(monkeypatch, EnvironmentFailed("m", help="h", trace="in the wheel\n"))
    outcome = run("train", "--no-preset")
    assert "in the wheel" not in outcome.err
    told = outcome.err.split("help: h; the traceback is in ")[1].strip()
    assert Path(told).read_text() == "in the wheel\n"
    assert "in the wheel" in run("train", "--no-preset", "--debug").err


def test_unexpected_failure_debug_shows_the_traceback(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop_with(monkeypatch, ValueError("what"))
    assert "Traceback (most recent call" in run("train", "--no-preset", "--debug").err


def test_config_errors_are_all_listed_in_json(run: Run) -> None:
    words = "train --json --seed x --set optimizer.lr=-1"
    described = the_only_object(run(*words.split()).out)
    assert len(described["error"]["errors"]) == 2


def test_config_check_reports_every_file(run: Run) -> None:
    Path("good.yaml").write_text("seed: 3\n")
    Path("bad.yaml").write_text("seed: -3\n")
    Path("worse.yaml").write_text("sead: 3\n")
    outcome = run("config", "check", "bad.yaml", "good.yaml", "worse.yaml", "--json")
    described = the_only_object(outcome.out)
    assert outcome.code == 2
    assert [row["ok"] for row in described["files"]] == [False, True, False]
    assert "bad.yaml:1" in outcome.err
    assert "worse.yaml:1" in outcome.err
    assert run("config", "check", "good.yaml").out == "ok  good.yaml\n"


@pytest.mark.parametrize(
    "words",
    [
        ("config", "show", "--set", "env.workers=1"),
        ("config", "check", "old.yaml"),
        ("train", "--dry-run", "-c", "old.yaml"),
    ],
)
def test_moved_key_is_one_line_on_stderr(run: Run, words: tuple[str, ...]) -> None:
    Path("old.yaml").write_text("env: {workers: 1}\n")
    outcome = run(*words)
    assert outcome.code == 0
    lines = [line for line in outcome.err.splitlines() if "is now" in line]
    assert len(lines) == 1
    assert lines[0].endswith("`env.workers` is now `host.workers`")
    assert "is now" not in outcome.out


def test_config_show_can_be_read_back(run: Run) -> None:
    shown = run("config", "show", "--no-preset", "--seed", "3", "--algo", "a2c")
    Path("my.yaml").write_text(shown.out)
    first = json.loads(run("config", "show", "-c", "my.yaml", "--json").out)
    again = json.loads(
        run(
            "config", "show", *["--no-preset", "--seed", "3", "--algo", "a2c", "--json"]
        ).out
    )
    assert first["config"] == again["config"]


def test_config_show_does_not_freeze_derived_values(run: Run) -> None:
    """A file made for a small budget is good for a large one."""
    shown = run("config", "show", "--no-preset", "--steps", "10000").out
    assert "  # every: 1000" in shown
    Path("my.yaml").write_text(shown)
    words = ("config", "show", "--json", "--steps", "1000000")
    config = json.loads(run(*words, "-c", "my.yaml").out)["config"]
    assert config == json.loads(run(*words, "--no-preset").out)["config"]
    assert config["eval"]["every"] == 100_000  # 1,000,000 / 10


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ((), "configuration: preset ppo2/CartPole-v1"),
        (
            ("--no-preset",),
            "configuration: defaults of ppo2; preset ppo2/CartPole-v1 is not used",
        ),
        (
            ("-c", "a.yaml", "-c", "b.yaml"),
            "configuration: a.yaml, b.yaml; preset ppo2/CartPole-v1 is not used: "
            "`base: ppo2/CartPole-v1` in a file starts from it",
        ),
        (
            ("-c", "base.yaml"),
            "configuration: base.yaml on preset ppo2/CartPole-v1",
        ),
        (
            ("-c", "ppo2/CartPole-v1"),
            "configuration: ppo2/CartPole-v1",
        ),
    ],
)
def test_first_line_names_files_and_presets(
    run: Run, words: tuple[str, ...], line: str
) -> None:
    Path("a.yaml").write_text("seed: 1\n")
    Path("b.yaml").write_text("seed: 2\n")
    Path("base.yaml").write_text("base: ppo2/CartPole-v1\n")
    assert run("train", *words).err.splitlines()[0] == line


def test_config_check_takes_the_files_of_train(run: Run) -> None:
    Path("a.yaml").write_text("algo: {name: a2c}\n")
    Path("b.yaml").write_text("rollout: {num_steps: 5}\n")
    outcome = run("config", "check", "-c", "a.yaml", "-c", "b.yaml")
    assert (outcome.code, outcome.out) == (0, "ok  a.yaml, b.yaml\n")
    assert run("config", "check").code == 2


@pytest.fixture
def doctor_report(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    report: dict[str, Any] = {
        "ok": True,
        "devices": [],
        "cores": 2,
        "machine": {"cpu": "fast", "cores": 2, "memory": 2**33, "system": "Linux"},
        "versions": {},
        "extras": {"plot": ["matplotlib"]},
        "cache": None,
        "runs": {"path": "/home/mary/runs", "writable": True},
        "environment": {"PGCLI_CACHE": ""},
        "warnings": [],
    }
    monkeypatch.setattr("pgcli.diagnose.doctor.examine", lambda _: report)
    return report


def test_doctor_marks_an_empty_variable(
    run: Run, doctor_report: dict[str, Any]
) -> None:
    last = run("doctor").out.splitlines()[-1]
    assert last.split() == ["PGCLI_CACHE", "(empty)"]


def test_doctor_writes_a_block_for_bug_reports(
    run: Run, doctor_report: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", "/home/mary")
    doctor_report |= {"ok": False, "warnings": ["no device"]}
    outcome = run("doctor", "--markdown")
    assert (outcome.code, outcome.err) == (6, "error: no device\n")
    assert outcome.out.splitlines() == [
        "```text",
        "devices      none",
        "CPU          fast, 2 cores, 8 GiB",
        "system       Linux",
        "versions",
        "extras       none",
        "cache        off",
        "runs         ~/runs",
        "PGCLI_CACHE  (empty)",
        "warning      no device",
        "```",
    ]
    assert json.loads(run("doctor", "--markdown", "--json").out)["ok"] is False


def test_runs_verify_names_the_damaged_checkpoint(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = SimpleNamespace(name="r", path=Path("r"), checkpoints=Path("r/c"))
    find = SimpleNamespace(find=lambda *_: directory)
    monkeypatch.setattr("pgcli.storage.run_directory.RunDirectory", find)
    paths = [Path("r/c/1"), Path("r/c/2")]
    monkeypatch.setattr("pgcli.storage.checkpoint.committed", lambda _: paths)

    def verify(path: Path) -> None:
        if path.name == "2":
            raise CheckpointError("size is 3, not 4", where=str(path))

    monkeypatch.setattr("pgcli.storage.checkpoint.load", verify)
    outcome = run("runs", "verify", "r", "--json")
    described = the_only_object(outcome.out)
    assert outcome.code == 4
    assert [row["ok"] for row in described["checkpoints"]] == [True, False]
    assert described["error"]["where"] == "r/c/2"


@pytest.mark.parametrize("words", ["--json config show", "config --json show"])
def test_global_flag_before_the_command_counts(run: Run, words: str) -> None:
    assert json.loads(run(*words.split()).out)["ok"] is True


def test_completion_knows_keys_without_jax(
    run: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("_PGCLI_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", "pgcli train --set optimizer.b")
    monkeypatch.setenv("COMP_CWORD", "3")
    with pytest.raises(SystemExit):
        run()
    assert capsys.readouterr().out.split() == ["optimizer.beta1=", "optimizer.beta2="]


def test_dry_run_counts_iterations_and_gradient_steps(run: Run) -> None:
    words = "train --no-preset --dry-run --steps 1001 --json"
    sizes = (
        "env.num_envs=4 rollout.num_steps=50 algo.num_epochs=3 algo.num_minibatches=2"
    )
    sets = [word for size in sizes.split() for word in ("--set", size)]
    data = the_only_object(run(*words.split(), *sets).out)
    # 4 x 50 = 200 steps a batch; ceil(1001 / 200) = 6 iterations; 6 x 3 x 2 = 36
    assert (data["batch_size"], data["iterations"]) == (200, 6)
    assert data["steps"] == {"asked": 1001, "used": 1200}
    assert data["gradient_steps"] == 36
    assert (data["trajectories"], data["trust_region_steps"]) == (None, None)
    a2c = the_only_object(run(*words.split(), "--algo", "a2c", *sets[:4]).out)
    assert a2c["gradient_steps"] == a2c["iterations"] == 6
    trpo = the_only_object(run(*words.split(), "--algo", "trpo", *sets).out)
    # Adam's steps are those of the critic; the policy takes one per iteration
    assert (trpo["gradient_steps"], trpo["trust_region_steps"]) == (36, 6)


def test_dry_run_shows_members_and_grid(run: Run) -> None:
    words = "train --dry-run --seed 2 --seeds 3 --grid optimizer.lr=1e-4,1e-3"
    rows = [line.split("  ") for line in run(*words.split()).out.splitlines()]
    shown = {row[0]: row[-1].strip() for row in rows}
    assert shown["seed"] == "2 to 4"
    assert shown["grid"] == "optimizer.lr [0.0001, 0.001]"
    assert shown["members"] == "6, trained in one run"
    assert shown["network"] == "mlp [64, 64], 9,155 parameters"


def test_dry_run_shows_the_memory(run: Run) -> None:
    sets = "--set network.memory=gru --set network.memory_size=8"
    assert "mlp [64, 64], gru of 8, " in run(*f"train --dry-run {sets}".split()).out


def test_dry_run_leaves_open_what_depends_on_episode_lengths(run: Run) -> None:
    words = "train --no-preset --dry-run --steps 1001 --algo reinforce"
    sets = ["--set", "env.num_envs=4", "--set", "rollout.episodes_per_env=3"]
    data = the_only_object(run(*words.split(), *sets, "--json").out)
    assert data["trajectories"] == 12
    assert data["steps"] == {"asked": 1001, "used": None}
    assert data["batch_size"] is data["iterations"] is data["gradient_steps"] is None
    rows = [line.split("  ") for line in run(*words.split(), *sets).out.splitlines()]
    shown = {row[0]: row[-1].strip() for row in rows}
    assert shown["batch size"] == "12 trajectories"
    assert shown["iterations"] == "depends on episode lengths"
    assert shown["gradient steps"] == "one per iteration"


def test_train_help_shows_every_algorithm_with_sentence_and_equation(run: Run) -> None:
    lines = run("train", "-h").out.splitlines()
    for name, cls in ALGORITHM_CONFIGS.items():
        sentence = str(cls.__doc__)
        assert sentence.endswith(".")
        (at,) = (n for n, line in enumerate(lines) if line.endswith(sentence))
        assert lines[at].split()[0].rstrip(",") == name
        assert lines[at + 1].strip() == cls.equation


@pytest.mark.parametrize(
    "command",
    [
        "",
        *("train", "eval", "resume", "ladder", "explain", "bench", "doctor"),
        *("runs", "runs list", "runs show", "runs verify", "runs rm"),
        *("plot", "compare", "video", "report", "export"),
        *("config", "config show", "config check", "config explain", "config schema"),
        *("envs", "envs list", "envs check"),
    ],
)
def test_help_fits_in_80_columns(run: Run, command: str) -> None:
    for line in run(*command.split(), "-h").out.splitlines():
        assert sum(not unicodedata.combining(c) for c in line) <= 80, line


def test_help_of_config_check_takes_several_files(run: Run) -> None:
    assert (
        "Usage: pgcli config check [OPTIONS] [FILE]...\n"
        in run("config", "check", "-h").out
    )


def test_config_explain_finds_keys_of_every_algorithm(run: Run) -> None:
    for key in ("algo.kl_min", "rollout.episodes_per_env", "algo.baseline"):
        assert run("config", "explain", key).code == 0


def test_config_show_names_the_origin_of_every_value(run: Run) -> None:
    words = "config show --no-preset --seed 3 --set optimizer.lr=1e-3"
    shown = [line.split() for line in run(*words.split()).out.splitlines()]
    assert ["seed:", "3", "#", "--seed"] in shown
    assert ["lr:", "0.001", "#", "--set"] in shown
    assert ["clip_eps:", "0.2", "#", "default"] in shown
    assert all("#" in line for line in shown if len(line) > 1)
