"""Checks of what is configured, and what frozen objects have in common."""

from __future__ import annotations

from collections.abc import Sequence

from metrics_sdk.errors import ConfigurationError


def refuse(self: object, name: str, value: object = None) -> None:
    """Refuse to change an attribute: the `__setattr__` of what is frozen."""
    raise AttributeError(f"a {type(self).__name__} cannot be changed: make another one to set {name}")


def shown(self: object) -> str:
    """Return an object as it would be made: the `__repr__` of what is frozen."""
    return f"{type(self).__name__}({', '.join([f'{name}={value!r}' for name, value in vars(self).items()])})"


def check_seconds(name: str, value: object) -> None:
    """Raise ConfigurationError unless `value` is a positive number of seconds."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < float("inf"):
        raise ConfigurationError(f"{name} must be a positive number of seconds, not {value!r}")


def check_choice(name: str, value: object, choices: Sequence[str | None]) -> None:
    """Raise ConfigurationError unless `value` is one of `choices`."""
    if value not in choices:
        raise ConfigurationError(f"{name} must be one of {', '.join([repr(one) for one in choices])}, not {value!r}")


def check_whole(name: str, value: object, least: int) -> None:
    """Raise ConfigurationError unless `value` is a whole number of at least `least`."""
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ConfigurationError(f"{name} must be a whole number of at least {least}, not {value!r}")
