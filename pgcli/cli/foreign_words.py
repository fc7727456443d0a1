"""Options and commands of other libraries, and what to write here: plain data."""

from collections.abc import Mapping

_SAME: Mapping[str, str] = {
    "--env": "-e env-id env-name environment gym-id task",
    "--algo": "-a alg algorithm",
    "--steps": "-n budget n-timesteps num-timesteps timesteps total-env-steps "
    "total-steps total-timesteps",
    "--seed": "random-seed rng-seed",
    "--seeds": "n-seeds num-seeds",
    "--config": "cfg conf-file config-file yaml-file",
    "--name": "exp-name experiment-name run-name",
    "--runs-dir": "-f log-dir log-folder logdir output-dir results-dir save-dir",
    "--episodes": "n-episodes n-eval-episodes num-episodes",
    "--best": "load-best",
    "--version": "-V",
}


def _by_option(listed: Mapping[str, str]) -> Mapping[str, str]:
    """Option -> the text that it is listed under."""
    return {
        name if name.startswith("-") else f"--{name}": text
        for text, names in listed.items()
        for name in names.split()
    }


OPTIONS = _by_option(_SAME)
"""Option in another library -> ours of the same meaning, if the command has it."""

_TENSORBOARD = "--set log.sinks=[tensorboard], or csv, wandb, mlflow: docs/metrics.md"
_WANDB = "--set log.sinks=[wandb] --set log.project=NAME, see docs/metrics.md"
_MLFLOW = "--set log.sinks=[mlflow] --set log.project=NAME, see docs/metrics.md"
_PATIENCE = "--patience N stops after N evaluations in a row without a new best"
_TIME = "--max-seconds TIME, such as 90s, 10m or 1.5h"
_DEVICE = "--accelerator cpu, or --accelerator gpu; without it, JAX's default device"
_HIDDEN = "--set network.hidden=[64,64]; docs/configuration.md has the other networks"
_ON_POLICY = "pgcli trains on-policy: there is no replay buffer and no target network"
_BATCH = (
    "--set algo.num_minibatches=N divides the batch of env.num_envs × "
    "rollout.num_steps; --dry-run shows its size"
)
_BUDGET = "--steps N is the budget, in environment steps of all environments together"
_VIDEO = "train first; then `pgcli video RUN -o FILE.mp4` records the agent"
_CONTINUE = "`pgcli resume RUN` continues a run, `--steps N` extends its budget"
_SEARCH = "--grid optimizer.lr=1e-4,1e-3 trains both in one run; or `pgcli sweep FILE`"
_LINEAR = "--set optimizer.schedule=linear"
_NORMALIZE = "--set normalize.obs=true --set normalize.reward=true"
_WRAP = "--set env.wrappers=[…], innermost first, see docs/environments.md"
_WORKERS = "--set host.workers=N; `pgcli bench` measures what is fastest"
_ALWAYS = "it is always so; leave it out"

_INSTEAD: Mapping[str, str] = {
    _TENSORBOARD: "csv log logger loggers sink sinks tb tensorboard tensorboard-log",
    _WANDB: "track use-wandb wandb wandb-entity wandb-group wandb-project "
    "wandb-project-name",
    _MLFLOW: "mlflow mlflow-experiment use-mlflow with-mlflow",
    _PATIENCE: "early-stop early-stopping early-stopping-patience no-improvement",
    _TIME: "hours max-hours max-minutes max-runtime max-time minutes time time-budget",
    _DEVICE: "cpu cuda device gpu no-cuda use-cuda use-gpu",
    _HIDDEN: "arch hid hidden-size hidden-sizes layers net-arch num-layers policy "
    "policy-kwargs",
    _ON_POLICY: "buffer-size exploration-fraction learning-starts "
    "save-replay-buffer target-network-frequency tau train-freq",
    _BATCH: "batch-size minibatch-size minibatches n-minibatch sgd-minibatch-size",
    _BUDGET: "episodes epochs iterations max-episodes max-iterations n-episodes n-iter "
    "num-episodes num-iterations num-updates stop-timesteps",
    _VIDEO: "capture-video record record-video render save-video video",
    _CONTINUE: "-i checkpoint load load-checkpoint load-model model model-path "
    "pretrained restore trained-agent",
    _SEARCH: "n-trials optimize optimize-hyperparameters pruner sampler sweep",
    _LINEAR: "anneal-lr linear-lr lr-decay lr-schedule use-linear-lr-decay",
    _NORMALIZE: "normalize norm-reward normalize-env vec-normalize",
    _WRAP: "atari-wrappers env-wrapper frame-skip frame-stack n-stack wrapper",
    _WORKERS: "n-workers num-workers parallel-envs vec-env vec-env-type",
    _ALWAYS: "orthogonal-init progress progress-bar save-model torch-deterministic",
    "--set KEY=VALUE for each, such as --set optimizer.lr=1e-3 --set algo.gamma=0.98": (
        "hyperparams hyperparameters params"
    ),
    "--devices N": "gpus n-gpus num-devices num-gpus",
    "--set network.dtype=bfloat16": "amp bf16 fp16 mixed-precision precision",
    "--set algo.standardize_advantage=true": "norm-adv normalize-advantage",
    "--set algo.value_clip_eps=0.2": "clip-range-vf clip-vloss vf-clip-param",
    "--set rollout.episodes_per_env=N, for an algorithm that learns from episodes": (
        "episodes-per-batch trajectories"
    ),
    "`--resume auto` with `--name NAME`; or `pgcli resume RUN` for a run that exists": (
        "auto-resume continue"
    ),
}
REMEDIES = _by_option(_INSTEAD)
"""Option in another library -> what to write instead."""

_INSTEAD_OF_EVAL: Mapping[str, str] = {
    "it is always so; `--stochastic` samples the actions": "deterministic mode",
    "the argument is the run: `pgcli eval RUN`; `pgcli runs list` lists runs": (
        "-i checkpoint exp-id folder load-checkpoint model model-path name run run-id"
    ),
    "`pgcli video RUN -o FILE.mp4` records an agent": (
        "capture-video record save-video video"
    ),
    "--episodes N": "-n n-timesteps steps total-timesteps",
}
EVAL_REMEDIES = _by_option(_INSTEAD_OF_EVAL)
"""The same for `eval` and what is like it."""

_EVALUATE = "`pgcli eval RUN` evaluates an agent, `pgcli video RUN` records it"
_LIST = "`pgcli runs list` lists runs, `pgcli runs show RUN` shows one"
_INSTEAD_OF_COMMAND: Mapping[str, str] = {
    _EVALUATE: "benchmark-policy enjoy evaluate infer inference play predict render "
    "rollout test visualize watch",
    _LIST: "history list log logs ls ps results show status",
    "`pgcli train` trains an agent": "fit learn launch main run start",
    "`pgcli resume RUN`": "continue restart",
    "`pgcli runs rm RUN`": "clean delete remove rm",
    "`pgcli compare RUN RUN…`": "analyze diff",
    "`pgcli plot RUN…`": "curves graph plot-results tensorboard",
    "`pgcli explain` lists algorithms, `pgcli explain ppo2` describes one": (
        "algo algorithms algos"
    ),
    "`pgcli train --grid KEY=V,V,…`, or `pgcli sweep FILE`": (
        "grid hyperopt optimize search tune"
    ),
    "`pgcli envs` lists environments, `pgcli envs check ID` checks one": (
        "check env environments gym"
    ),
    "`pgcli config show`": "configure defaults hyperparams params",
    "`pgcli doctor`": "debug info",
    "`pgcli --version`": "version",
    "`pgcli bench`": "benchmark perf profile speed",
}
COMMANDS: Mapping[str, str] = {
    name: remedy
    for remedy, names in _INSTEAD_OF_COMMAND.items()
    for name in names.split()
}
"""Command in another library, or a word for one -> ours."""
