"""What is said of the process in everything that leaves it. OpenTelemetry's resource SDK specification."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from metrics_sdk.config import Config
from metrics_sdk.errors import ConfigurationError
from metrics_sdk.resource import detected as known_anyway


def attributes_of(resource: Any) -> dict[str, Any]:
    """Return the attributes of a resource: opentelemetry-sdk's, a mapping, or, for None, what is detected.

    Raises ConfigurationError for what is none.
    """
    if resource is None:
        return detected()
    found = resource if isinstance(resource, Mapping) else getattr(resource, "attributes", None)
    if not isinstance(found, Mapping):
        raise ConfigurationError(f"a resource is opentelemetry-sdk's, or a mapping of attributes, not {resource!r}")
    return dict(found)


def detected() -> dict[str, Any]:
    """Return what the environment says (`OTEL_SERVICE_NAME`, `OTEL_RESOURCE_ATTRIBUTES`), and which SDK this is."""
    known = {key: value for key, value in known_anyway().items() if key.startswith(("service.name", "telemetry.sdk."))}
    said = Config.from_env().resource
    return {**known, **said, "service.name": said.get("service.name") or known["service.name"]}


class SDKResource:
    """A resource as opentelemetry-sdk's object, with what depends on the process renewed in a forked child."""

    def __init__(self, given: Any, attributes: Mapping[str, Any]) -> None:
        """`given`: what the application gave, or None; `attributes`: those of ours."""
        self._given = given
        self._attributes = attributes
        self._made: Any = None
        self._pid = os.getpid()

    def __call__(self) -> Any:
        """Return it."""
        from opentelemetry.sdk import resources  # for opentelemetry-sdk's readers alone

        if self._made is None:
            if isinstance(self._given, resources.Resource):
                self._made = self._given
            elif self._given is None:
                self._made = resources.Resource.create(dict(self._attributes))
            else:
                self._made = resources.Resource(dict(self._attributes))
        if self._pid != os.getpid():
            self._pid = os.getpid()
            renew = getattr(resources, "_get_process_dependent_resource", None)  # newer versions
            if renew is not None:
                self._made = self._made.merge(renew())
        return self._made
