"""What can go wrong at declaration, configuration, query and export time. Recording raises none of these."""

from __future__ import annotations


class MetricsError(Exception):
    """The base of all errors of this package."""


class ConfigurationError(MetricsError, ValueError):
    """A configuration value that cannot work."""


class DeclarationError(MetricsError, ValueError):
    """An instrument that cannot be declared as asked: a bad name, unit or boundary, or a contradiction to an earlier
    declaration of the same name.
    """


class TooManyInstruments(DeclarationError):  # noqa: N818 - what it says is the name
    """`max_instruments` different names have been declared already."""


class UnknownInstrument(MetricsError, KeyError):  # noqa: N818 - likewise
    """A query for a name that nobody declared or recorded under."""

    def __str__(self) -> str:
        return str(self.args[0]) if self.args else ""


class StoreError(MetricsError, OSError):
    """A file of windows that cannot be used: not to be opened, locked by another process, full, corrupt."""


class ExportError(MetricsError, OSError):
    """An export that failed, of which more is known than that it did: what exporters raise.

    `settled`: so many points at the front of the snapshot are not to be told again, since they were delivered or refused for
    good. `refused`: how many of these were refused. `retry_after_seconds`: how long the other side asks to be left alone.
    """

    def __init__(self, why: str, *, settled: int = 0, refused: int = 0, retry_after_seconds: float = 0.0) -> None:
        super().__init__(why)
        self.settled = settled
        self.refused = refused
        self.retry_after_seconds = retry_after_seconds
