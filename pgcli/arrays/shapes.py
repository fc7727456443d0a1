"""Array annotations: jaxtyping's if shapes are checked, plain arrays otherwise.

jaxtyping takes 0.3 s to import and is needed only by type checkers and by the tests,
which set `PGCLI_CHECK_SHAPES=1` before the first import.
"""

import os
from typing import TYPE_CHECKING, Any

from jax import Array

__all__ = ["Array", "Bool", "Float", "Int", "Key", "PyTree", "Scalar", "UInt32"]

type_checked = bool(os.environ.get("PGCLI_CHECK_SHAPES"))

if TYPE_CHECKING or type_checked:
    from jaxtyping import Bool, Float, Int, PyTree, Scalar, UInt32
    from jaxtyping import Key as Key
else:

    class _Unchecked:
        def __class_getitem__(cls, item: Any) -> Any:
            return Any

    Bool = Float = Int = Key = PyTree = UInt32 = _Unchecked
    Scalar = Array
