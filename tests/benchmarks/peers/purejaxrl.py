"""PureJaxRL's training functions, without the printing callback, under vmap if asked.

`{"path": CLONE, "script": "ppo", "steps": PER_CALL, "members": M, …}`; further keys
are those of its configuration.
"""

import importlib
import importlib.util
import sys
from unittest.mock import MagicMock

import jax
from serve import serve, settings

UNUSED = (
    *("brax", "brax.envs", "brax.envs.wrappers", "brax.envs.wrappers.training"),
    "navix",
)
"""Packages that its wrappers import and that no row here needs."""

CONFIG = {
    "LR": 2.5e-4,
    "UPDATE_EPOCHS": 4,
    "NUM_MINIBATCHES": 4,
    "NUM_STEPS": 128,
    "GAMMA": 0.99,
    "GAE_LAMBDA": 0.95,
    "CLIP_EPS": 0.2,
    "ENT_COEF": 0.01,
    "VF_COEF": 0.5,
    "MAX_GRAD_NORM": 0.5,
    "ENV_NAME": "CartPole-v1",
    "ACTIVATION": "tanh",
    "ANNEAL_LR": False,
    "DEBUG": False,
}


def main():
    """Trains `steps` steps from the beginning, compiled, at every call."""
    given = settings()
    missing = {name for name in ("brax", "navix") if not importlib.util.find_spec(name)}
    for name in UNUSED:
        if name.split(".")[0] in missing:
            sys.modules[name] = MagicMock()
    sys.path.insert(0, f"{given.pop('path')}/purejaxrl")
    make_train = importlib.import_module(given.pop("script")).make_train
    members, steps = given.pop("members", 1), given.pop("steps")
    config = {**CONFIG, **given, "TOTAL_TIMESTEPS": steps}
    batch = config["NUM_ENVS"] * config["NUM_STEPS"]
    program, keys = make_train(config), jax.random.split(jax.random.key(0), members)
    program = jax.jit(jax.vmap(program) if members > 1 else program)

    def train():
        jax.block_until_ready(program(keys if members > 1 else keys[0]))
        return members * (steps // batch) * batch

    serve(train)


if __name__ == "__main__":
    main()
