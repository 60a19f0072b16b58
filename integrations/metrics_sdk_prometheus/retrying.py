"""Which answers to what is pushed are worth trying again."""

from __future__ import annotations

from metrics_sdk.http_target import codes

#: A server that is busy, or has failed: "Retries & Backoff" in the specification of remote write. Pushgateways are alike.
RETRYABLE = codes(429, *range(500, 600))
