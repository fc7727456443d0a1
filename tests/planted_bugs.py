"""Well-known mistakes, planted one at a time in a copy: do the tests see them?

Run by hand:

    python tests/planted_bugs.py [NAME …]

Each bug is one replacement in the text of the package. It is applied to a copy of the
tree, the tests that it concerns run there, and those that went red are printed. Exits 1
if a bug went unseen, or no longer fits the code.
"""

import argparse
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
COPIED = ("pgcli", "tests", "configs", "pyproject.toml")


class Bug(NamedTuple):
    """A replacement in one file, and where it should be noticed."""

    file: str
    right: str
    wrong: str
    tests: Sequence[str]


BUGS: dict[str, Bug] = {
    "truncation as termination": Bug(
        "pgcli/algos/advantage.py",
        "jnp.where(terminated, 0.0, next_value)",
        "jnp.where(terminated | truncated, 0.0, next_value)",
        ("tests/algos/test_advantage.py", "tests/algos/test_updates.py"),
    ),
    "trace across episodes": Bug(
        "pgcli/algos/advantage.py",
        "decay = gamma * gae_lambda * (~(terminated | truncated)).astype(jnp.float32)",
        "decay = gamma * gae_lambda * (~terminated).astype(jnp.float32)",
        ("tests/algos/test_advantage.py", "tests/algos/test_updates.py"),
    ),
    "GAE off by one": Bug(
        "pgcli/algos/advantage.py",
        "        advantage = delta + decay * advantage\n"
        "        return advantage, advantage\n",
        "        after = delta + decay * advantage\n        return after, advantage\n",
        ("tests/algos/test_advantage.py", "tests/algos/test_gradient_variance.py"),
    ),
    "KL reversed in the penalty": Bug(
        "pgcli/algos/ppo1.py",
        "kl = batch.old_dist.kl(batch.dist)",
        "kl = batch.dist.kl(batch.old_dist)",
        ("tests/algos/test_ppo1.py",),
    ),
    "KL reversed in the trust region": Bug(
        "pgcli/algos/natural_gradient.py",
        "weighted_mean(now.old_dist.kl(now.dist), batch.weight)",
        "weighted_mean(now.dist.kl(now.old_dist), batch.weight)",
        ("tests/algos/test_trpo.py",),
    ),
    "KL reversed in the diagnostics": Bug(
        "pgcli/algos/surrogate.py",
        "return now.ratio, now.old_dist.kl(now.dist), now.dist.entropy()",
        "return now.ratio, now.dist.kl(now.old_dist), now.dist.entropy()",
        ("tests/algos/test_surrogate.py", "tests/algos/test_trpo.py"),
    ),
    "beta adapted per minibatch": Bug(
        "pgcli/algos/update.py",
        "kept, more = memory.update(config, learner.memory, rollout, metrics)",
        "kept, more = memory.update(config, learner.memory, rollout, metrics)\n"
        "        for _ in range(config.num_epochs * config.num_minibatches - 1):\n"
        "            kept, more = memory.update(config, kept, rollout, metrics)",
        ("tests/algos/test_ppo1.py",),
    ),
    "line search accepts everything": Bug(
        "pgcli/algos/trpo.py",
        "accepted = (problem.mean_kl(candidate) <= config.max_kl) & (gained > 0)",
        "accepted = (problem.mean_kl(candidate) < jnp.inf) | (gained > 0)",
        ("tests/algos/test_trpo.py",),
    ),
    "line search ignores the surrogate": Bug(
        "pgcli/algos/trpo.py",
        "accepted = (problem.mean_kl(candidate) <= config.max_kl) & (gained > 0)",
        "accepted = problem.mean_kl(candidate) <= config.max_kl",
        ("tests/algos/test_trpo.py",),
    ),
    "curvature without damping": Bug(
        "pgcli/algos/natural_gradient.py",
        "damped: Array = product + config.cg_damping * vector",
        "damped: Array = product",
        ("tests/algos/test_trpo.py",),
    ),
    "critic of trpo moves the policy": Bug(
        "pgcli/algos/natural_gradient.py",
        "loss = weighted_mean(errors, batch.weight)\n",
        "loss = weighted_mean(errors - 1e-3 * now.logp, batch.weight)\n",
        ("tests/algos/test_trpo.py",),
    ),
    "tails dropped on the device": Bug(
        "pgcli/rollout/device_episode_collector.py",
        '    obs = rows.pop("obs")\n',
        '    obs = rows.pop("obs")\n'
        '    rows["weight"] *= ~jnp.any(rows["truncated"], axis=0, keepdims=True)\n',
        ("tests/rollout/test_whole_episodes.py",),
    ),
    "tails dropped on the host": Bug(
        "pgcli/rollout/host_episode_collector.py",
        "weight=whole.active.astype(np.float32),",
        "weight=(whole.active & ~whole.truncated.any(0)).astype(np.float32),",
        ("tests/rollout/test_whole_episodes.py",),
    ),
    "baseline that standardises": Bug(
        "pgcli/algos/update.py",
        'if standardizes and standardize_over == "batch":',
        'if standardize_over == "batch":',
        ("tests/algos/test_monte_carlo.py",),
    ),
    "mean over steps, not trajectories": Bug(
        "pgcli/algos/reinforce.py",
        "policy_loss = -mean * steps_per_trajectory",
        "policy_loss = -mean",
        ("tests/algos/test_monte_carlo.py",),
    ),
    "baseline of its own trajectory": Bug(
        "pgcli/algos/advantage.py",
        "return (jnp.sum(total) - total) / jnp.maximum(jnp.sum(count) - count, 1e-8)",
        "return 0 * total + jnp.sum(total) / jnp.maximum(jnp.sum(count), 1e-8)",
        ("tests/algos/test_monte_carlo.py",),
    ),
    "weight of the discounted states": Bug(
        "pgcli/algos/reinforce.py",
        "credit = reward_to_go(rollout.reward, weight, config.gamma)",
        "credit = reward_to_go(rollout.reward, weight, config.gamma)\n"
        "        steps = jnp.arange(len(credit), dtype=jnp.float32)[:, None]\n"
        "        credit = credit * config.gamma**steps",
        ("tests/algos/test_monte_carlo.py",),
    ),
    "normaliser updated before the update": Bug(
        "pgcli/training/step.py",
        "    rollout = complete(setup.policy, learner.agent, transitions, reward)\n",
        "    if learner.agent.obs_stats is not None:\n"
        "        early = jax.tree.map(lambda x: x[:-1], transitions.obs)\n"
        "        moved = update_obs_stats(learner.agent.obs_stats, early, weight)\n"
        "        agent = learner.agent.replace(obs_stats=moved)\n"
        "        learner = learner.replace(agent=agent)\n"
        "    rollout = complete(setup.policy, learner.agent, transitions, reward)\n",
        ("tests/nn/test_normalize.py",),
    ),
    "clip on the wrong side": Bug(
        "pgcli/algos/surrogate.py",
        "return jnp.minimum(ratio * advantage, clipped * advantage)",
        "return jnp.maximum(ratio * advantage, clipped * advantage)",
        ("tests/algos/test_surrogate.py", "tests/algos/test_limit_cases.py"),
    ),
    "entropy sign": Bug(
        "pgcli/algos/actor_critic.py",
        "return total - schedules.entropy_coef * entropy, metrics",
        "return total + schedules.entropy_coef * entropy, metrics",
        ("tests/algos/test_updates.py",),
    ),
    "part of a batch in the mean return": Bug(
        "pgcli/training/state.py",
        "size = -(-RECENT // num_envs) * num_envs",
        "size = RECENT",
        ("tests/training/test_returns.py",),
    ),
    "rounding errors dropped": Bug(
        "pgcli/arrays/compensated_sum.py",
        "    x = x + remainder\n",
        "",
        ("tests/training/test_returns.py",),
    ),
}


def plant(bug: Bug, tree: Path) -> None:
    """Applies the bug to the package under `tree`.

    Raises:
      ValueError: the text to replace is not there exactly once.
    """
    path = tree / bug.file
    text = path.read_text()
    if text.count(bug.right) != 1:
        raise ValueError(f"{bug.file} holds {text.count(bug.right)} × {bug.right!r}")
    path.write_text(text.replace(bug.right, bug.wrong))


def copy(target: Path) -> None:
    """The tree, less what is ignored anyway."""
    ignored = shutil.ignore_patterns("__pycache__", ".*_cache", ".hypothesis")
    for name in COPIED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, target / name, ignore=ignored)
        elif source.exists():
            shutil.copy(source, target / name)


def red_tests(bug: Bug) -> list[str]:
    """The tests that fail in a copy with this bug."""
    with tempfile.TemporaryDirectory(prefix="planted-") as name:
        tree = Path(name)
        copy(tree)
        plant(bug, tree)
        command = [sys.executable, "-m", "pytest", "-q", "--tb=no", "-rfE", *bug.tests]
        found = subprocess.run(command, cwd=tree, capture_output=True, text=True)
    if found.returncode not in (0, 1):
        raise RuntimeError(found.stdout[-2000:] + found.stderr[-2000:])
    lines = found.stdout.splitlines()
    red = [line.split()[1] for line in lines if line.startswith(("FAILED ", "ERROR "))]
    return [name.removeprefix("tests/") for name in red]


def report(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help="; ".join(BUGS))
    names = parser.parse_args().names or list(BUGS)
    unseen = 0
    for name in names:
        try:
            red = red_tests(BUGS[name])
        except ValueError as error:
            report(f"DOES NOT FIT  {name}: {error}")
            unseen += 1
            continue
        unseen += not red
        report(f"{'caught' if red else 'MISSED':<8}{name}: {len(red)} red")
        for test in red:
            report(f"          {test}")
    return 1 if unseen else 0


if __name__ == "__main__":
    sys.exit(main())
