"""Names of runs: what may be one, and how one is made up."""

import re
import secrets
import string

from pgcli.errors import UsageError

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,199}")
_ALPHABET = string.ascii_lowercase + string.digits
_RANDOM = 6


def is_valid(name: str) -> bool:
    """Whether a run may be called so."""
    return _NAME.fullmatch(name) is not None


def check(name: str) -> None:
    """Returns if a run may be called so.

    Raises:
      UsageError: it may not.
    """
    if not is_valid(name):
        raise UsageError(
            f"{name!r} cannot name a run",
            where="--name",
            help="use letters, digits, `.`, `_` and `-`, not `.` or `-` first, at most "
            "200 of them",
        )


def suffix() -> str:
    """Six random letters and digits."""
    return "".join(secrets.choice(_ALPHABET) for _ in range(_RANDOM))


def automatic(algo: str, env_id: str) -> str:
    """A name like `ppo2-CartPole-v1-k3f9wq`."""
    env = re.sub(r"[^A-Za-z0-9._-]", "-", env_id)[:100]
    return f"{algo}-{env}-{suffix()}"
