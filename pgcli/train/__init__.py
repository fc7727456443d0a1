"""Training, evaluation and what they leave on the disk.

`pgcli.train` is this package wherever it has been imported, and a function to its
users: so the package can be called, and is then `pgcli.train.run.train`.
"""

import sys
from types import ModuleType
from typing import Any


class _Callable(ModuleType):
    def __call__(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """See `pgcli.train.run.train`."""
        from pgcli.train.run import train

        return train(*args, **kwargs)


sys.modules[__name__].__class__ = _Callable
