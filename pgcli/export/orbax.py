"""Orbax: the arrays of the agent as a checkpoint directory for other JAX programs."""

from pathlib import Path

from pgcli.export.policy import Arrays, ExportedPolicy, flat_arrays, run_with


def write(policy: ExportedPolicy, path: Path) -> None:
    """Writes parameters and observation statistics by their dotted names."""
    from orbax.checkpoint import StandardCheckpointer

    with StandardCheckpointer() as checkpointer:
        checkpointer.save(path.absolute(), flat_arrays(policy.trained.agent))


def run(policy: ExportedPolicy, path: Path, batch: Arrays) -> Arrays:
    """Outputs of an agent with the arrays in the directory."""
    from orbax.checkpoint import StandardCheckpointer

    with StandardCheckpointer() as checkpointer:
        arrays = checkpointer.restore(
            path.absolute(), flat_arrays(policy.trained.agent)
        )
    return run_with(policy, arrays, batch)
