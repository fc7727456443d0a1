"""A run that begins with the weights of another one (`--init-from`)."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from pgcli.config.schema import RunConfig
from pgcli.errors import CheckpointError, UsageError
from pgcli.training.evaluation.saved_agents import find_checkpoint, load_agents
from pgcli.training.loops.base import Loop
from pgcli.training.state import to_arrays


class InitialWeights(NamedTuple):
    """What a run has taken over from the iteration of another run's checkpoint.

    Attributes:
      copied: arrays of the agent of equal shape, which were taken over.
      fresh: arrays of the new run that keep their own initial values.
    """

    run: str
    checkpoint: str
    iteration: int
    copied: list[str]
    fresh: list[str]

    def __str__(self) -> str:
        """One line for the terminal."""
        text = (
            f"begins with the weights of {self.run}, iteration {self.iteration:,}: "
            f"{len(self.copied)} arrays"
        )
        return text + (f"; new: {', '.join(self.fresh)}" if self.fresh else "")


def take_over(
    loop: Loop, config: RunConfig, source: str, runs_dir: Path
) -> InitialWeights:
    """Copies weights and normaliser of a run or checkpoint into a new loop.

    Arrays of the same name and shape are copied, to every member if there are several.
    Optimiser, schedules and all else begin as in any new run.

    Raises:
      UsageError: the source does not exist, or has several members.
      CheckpointError: it is damaged, or no array has the same name and shape.
    """
    path = find_checkpoint(source, runs_dir)
    agents = load_agents(path)
    if len(agents) > 1:
        raise UsageError(
            f"`--init-from {source}`: the run has {len(agents)} members",
            help=f"`pgcli resume {source} --member SEED` makes one of them a run",
        )
    theirs = to_arrays(agents[0].agent)
    groups = loop.snapshot()
    ours = groups["agent"]
    members = (config.num_members,) if config.has_members else ()
    # arrays that fit; with M members, ours are [M, …]
    copied = [
        name
        for name, array in ours.items()
        if name in theirs
        and array.shape == members + theirs[name].shape
        and array.dtype == theirs[name].dtype
    ]
    if not copied:
        raise CheckpointError(
            "no array of the policy has the name and shape that this run needs",
            where=str(path),
            help="network and observations must be those of the other run: "
            f"`pgcli runs show {agents[0].run} --config` shows them",
        )
    taken = {name: np.broadcast_to(theirs[name], ours[name].shape) for name in copied}
    loop.restore({**groups, "agent": ours | taken}, str(path))
    return InitialWeights(
        agents[0].run,
        str(path.absolute()),
        agents[0].iteration,
        [*map(_dotted, copied)],
        [_dotted(name) for name in ours if name not in taken],
    )


def _dotted(name: str) -> Any:
    """`.params['policy']['bias']` as `params.policy.bias`."""
    return name.lstrip(".").replace("']['", ".").replace("['", ".").replace("']", "")
