"""Training: runs from a configuration to a result.

The loops run the pure core; between chunks, the session logs, evaluates and saves.
Rooms: `loops`, `members` (several runs in one), `evaluation`, `backend` (devices). May
import all lower rooms: `pgcli.storage`, `pgcli.algos`, `pgcli.rollout`, `pgcli.nn`,
`pgcli.envs`, `pgcli.config`.
"""
