"""REINFORCE in one file of PyTorch, as CleanRL would write it.

Whole episodes of N environments, then one step of Adam on −mean(Σ log π · R):
`{"env": ID, "num_envs": N}`.
"""

import gymnasium
import numpy as np
import torch
from serve import serve, settings
from torch import nn


def main():
    """Trains one update at a time."""
    given = settings()
    torch.set_num_threads(given.get("threads", 1))
    num_envs = given["num_envs"]
    envs = gymnasium.make_vec(
        given["env"], num_envs=num_envs, vectorization_mode="sync"
    )
    inputs, outputs = envs.single_observation_space.shape[0], envs.single_action_space.n
    policy = nn.Sequential(
        *(nn.Linear(inputs, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh()),
        nn.Linear(64, int(outputs)),
    )
    optimizer = torch.optim.Adam(policy.parameters(), lr=1e-3)

    def train():
        obs, _ = envs.reset()
        running = np.ones(num_envs, bool)
        kept = []
        while running.any():
            seen = torch.as_tensor(obs, dtype=torch.float32)
            with torch.no_grad():
                action = torch.distributions.Categorical(logits=policy(seen)).sample()
            obs, reward, terminated, truncated, _ = envs.step(action.numpy())
            kept.append((seen, action, reward * running, running.copy()))
            running &= ~(terminated | truncated)
        seen, action = (torch.stack([row[i] for row in kept]) for i in (0, 1))
        reward, weight = (
            torch.as_tensor(np.stack([row[i] for row in kept]), dtype=torch.float32)
            for i in (2, 3)
        )
        logp = torch.distributions.Categorical(logits=policy(seen)).log_prob(action)
        loss = -((logp * weight).sum(0) * reward.sum(0)).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return int(weight.sum())

    serve(train)


if __name__ == "__main__":
    main()
