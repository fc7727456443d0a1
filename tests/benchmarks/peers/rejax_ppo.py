"""PPO of Rejax, evaluations off: `{"steps": PER_CALL, "env": ID, …}`.

Further keys are arguments of `rejax.PPO.create`.
"""

import jax
import rejax
from serve import serve, settings


def main():
    """Trains `steps` steps from the beginning, compiled, at every call."""
    given = settings()
    steps = given.pop("steps")
    agent = {"hidden_layer_sizes": given.pop("hidden", [64, 64]), "activation": "tanh"}
    ppo = rejax.PPO.create(
        agent_kwargs=agent,
        total_timesteps=steps,
        eval_freq=steps,
        skip_initial_evaluation=True,
        **given,
    )
    ppo = ppo.replace(eval_callback=lambda *_: ())
    program = jax.jit(lambda key: ppo.train(key))

    def train():
        jax.block_until_ready(program(jax.random.key(0)))
        return steps

    serve(train)


if __name__ == "__main__":
    main()
