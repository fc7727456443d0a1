"""Training: runs from a configuration to a result.

The loops run the pure core; the session logs, evaluates and saves between their chunks.
The rooms: `members` (several runs in one), `evaluation` and `backend` (devices). May
import everything below it: `pgcli.storage`, `pgcli.algos`, `pgcli.rollout`, `pgcli.nn`,
`pgcli.envs`, `pgcli.config`.
"""
