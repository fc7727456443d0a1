"""safetensors: the arrays of the agent; its metadata say how to compute with them."""

import json
from pathlib import Path

from safetensors import numpy as files

from pgcli.config.dump import to_mapping
from pgcli.envs.spaces import spec_to_json
from pgcli.export.policy import Arrays, ExportedPolicy, flat_arrays, run_with


def write(policy: ExportedPolicy, path: Path) -> None:
    """Writes parameters and observation statistics, and the network's configuration."""
    trained = policy.trained
    metadata = {
        "algo": trained.config.algo.name,
        "network": json.dumps(to_mapping(trained.config)["network"]),
        "env": json.dumps(spec_to_json(trained.spec)),
    }
    path.write_bytes(files.save(flat_arrays(trained.agent), metadata))


def run(policy: ExportedPolicy, path: Path, batch: Arrays) -> Arrays:
    """Outputs of an agent with the arrays in the file."""
    return run_with(policy, files.load(path.read_bytes()), batch)
