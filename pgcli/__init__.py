"""Train, evaluate and compare policy-gradient agents in JAX.

The public Python API, imported on first use so that `import pgcli` stays cheap:

- `configure`: a configuration from Python values;
- `train`, `resume`: from a configuration, or a run, to a result;
- `evaluate`: returns of a saved agent over a fixed number of episodes;
- `load_policy`: a saved agent as a function from observations to actions;
- `make_env`: the environment of a run, as one Gymnasium environment;
- `use_env_modules`, `use_network_modules`: allow environments and networks from your
  own modules.

Errors of the user are subclasses of `pgcli.errors.PgcliError`.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pgcli.envs.user_modules import use as use_env_modules
    from pgcli.envs.user_modules import use_networks as use_network_modules
    from pgcli.training.configure import configure as configure
    from pgcli.training.evaluation.evaluate import evaluate as evaluate
    from pgcli.training.evaluation.load_policy import load_policy as load_policy
    from pgcli.training.evaluation.make_env import make_env as make_env
    from pgcli.training.run import resume as resume
    from pgcli.training.run import train as train

__version__ = "0.1.0"
__all__ = [
    "__version__",
    "configure",
    "evaluate",
    "load_policy",
    "make_env",
    "resume",
    "train",
    "use_env_modules",
    "use_network_modules",
]

_LAZY = {
    "configure": ("pgcli.training.configure", "configure"),
    "evaluate": ("pgcli.training.evaluation.evaluate", "evaluate"),
    "load_policy": ("pgcli.training.evaluation.load_policy", "load_policy"),
    "make_env": ("pgcli.training.evaluation.make_env", "make_env"),
    "resume": ("pgcli.training.run", "resume"),
    "train": ("pgcli.training.run", "train"),
    "use_env_modules": ("pgcli.envs.user_modules", "use"),
    "use_network_modules": ("pgcli.envs.user_modules", "use_networks"),
}
"""Public name: (module, name in the module)."""


def __getattr__(name: str) -> Any:
    """Returns the public function `name`; its module is imported now."""
    if name not in _LAZY:
        raise AttributeError(f"module 'pgcli' has no attribute {name!r}")
    module, function_name = _LAZY[name]
    function = getattr(import_module(module), function_name)
    globals()[name] = function
    return function


def __dir__() -> list[str]:
    return sorted(__all__)
