"""Arrays of machine numbers: `librt` vectors where the core is compiled, plain lists where it is interpreted.

A vector costs 8 bytes an entry, or 4 for a narrow one, and updating it is a single machine instruction; interpreted, the same
vector would be twice as slow as a list, so the container is chosen by build.
"""

from __future__ import annotations

from metrics_sdk.core.build import COMPILED

if COMPILED:
    from librt.vecs import vec
    from mypy_extensions import i32, i64, u8

    def zeros(n: i64) -> vec[i64]:
        """Return `n` zeros. Allocates memory that the garbage collector does not track."""
        return vec[i64]([0] * n)

    def narrow_zeros(n: i64) -> vec[i32]:
        """Return `n` zeros of 32 bits."""
        return vec[i32]([0] * n)

    def octets(n: i64) -> vec[u8]:
        """Return `n` zeros of 8 bits, of which `bytes` can be made."""
        return vec[u8]([0] * n)

    def float_zeros(n: i64) -> vec[float]:
        """Return `n` doubles of value 0."""
        return vec[float]([0.0] * n)

    def floats(values: tuple[float, ...]) -> vec[float]:
        """Return `values` as a vector of doubles."""
        return vec[float]([float(x) for x in values])

    def clear(v: vec[i64]) -> None:
        """Set every entry to zero, in place."""
        i: i64 = 0
        n: i64 = len(v)
        while i < n:
            v[i] = 0
            i += 1

else:

    def zeros(n):  # noqa: D103 - as above
        return [0] * n

    def narrow_zeros(n):  # noqa: D103
        return [0] * n

    def octets(n):  # noqa: D103
        return bytearray(n)

    def float_zeros(n):  # noqa: D103
        return [0.0] * n

    def floats(values):  # noqa: D103
        return list(values)

    def clear(v):  # noqa: D103
        v[:] = [0] * len(v)
