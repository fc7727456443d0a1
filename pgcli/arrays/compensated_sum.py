"""Sums of many float32 numbers in which rounding errors are carried along.

After a million additions a plain sum has two correct digits, a compensated one seven.
"""

from pgcli.arrays.shapes import Array


def add(total: Array, remainder: Array, x: Array) -> tuple[Array, Array]:
    """(total, remainder) after adding `x`; the sum is `total + remainder`.

    The rounding error of an addition is a float itself (Knuth, The Art of Computer
    Programming, vol. 2, §4.2.2, theorem B). It is added with the next number (Kahan,
    1965).
    """
    x = x + remainder
    after = total + x
    part = after - total
    return after, (total - (after - part)) + (x - part)
