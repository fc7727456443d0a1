"""Whole iterations of pgcli, as `pgcli train` runs them: `{"sets": {...}}`."""

from contextlib import closing

from serve import serve, settings

from pgcli.config.load import resolve
from pgcli.training.backend import layout
from pgcli.training.backend.precision import in_32_bits
from pgcli.training.run import _make_loop

FOREVER = 10**12


@in_32_bits()
def main():
    """Trains in chunks of a quarter of a second."""
    sets = {"steps": FOREVER, **settings()["sets"]}
    texts = [f"{key}={value}" for key, value in sets.items()]
    resolved = resolve(file=None, flags={}, sets=texts, use_preset=False)
    config = resolved.config
    loop, _ = _make_loop(config, layout.start(config))
    with closing(loop):

        def train():
            before = loop.steps
            loop.advance(FOREVER, 0.25)
            return (loop.steps - before) * config.num_members

        serve(train)


if __name__ == "__main__":
    main()
