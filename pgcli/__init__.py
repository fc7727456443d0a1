"""Train, evaluate and compare policy-gradient agents in JAX.

The Python API is three functions, imported on first use: `train`, `evaluate` and
`load_policy`.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pgcli.training.evaluation.evaluate import evaluate as evaluate
    from pgcli.training.evaluation.load_policy import load_policy as load_policy
    from pgcli.training.run import train as train

__version__ = "0.1.0"
__all__ = ["__version__", "evaluate", "load_policy", "train"]

_LAZY = {
    "evaluate": "pgcli.training.evaluation.evaluate",
    "load_policy": "pgcli.training.evaluation.load_policy",
    "train": "pgcli.training.run",
}


def __getattr__(name: str) -> Any:
    """The public function `name`, imported now: `import pgcli` stays cheap."""
    if name not in _LAZY:
        raise AttributeError(f"module 'pgcli' has no attribute {name!r}")
    function = getattr(import_module(_LAZY[name]), name)
    globals()[name] = function
    return function


def __dir__() -> list[str]:
    return sorted(__all__)
