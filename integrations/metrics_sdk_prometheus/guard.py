"""Who may ask the endpoint: by the `Host` that a request names, and by credentials where these are asked for."""

from __future__ import annotations

import base64
import hmac
from http import HTTPStatus

from metrics_sdk.errors import ConfigurationError

from .answer import Answer, fixed
from .request import Request, names_loopback

FORBIDDEN = fixed(HTTPStatus.FORBIDDEN, "The Host header must be localhost or an IP address.")


class Guard:
    """Refuses requests before anything is done for them."""

    def __init__(self, basic_auth: tuple[str, str] | None, bearer_token: str | None) -> None:
        """Either of the credentials given lets a request through; None for both asks for none.

        Raises ConfigurationError for what cannot be sent in a header.
        """
        self.checks_host = True  # set when it is known what is listened on
        self._accepted: list[tuple[str, bytes]] = []
        schemes = []
        if basic_auth is not None:
            if not isinstance(basic_auth, (tuple, list)) or len(basic_auth) != 2 or not all(map(_is_text, basic_auth)):
                raise ConfigurationError("basic_auth must be a pair of a name and a password, in printable characters")
            if ":" in basic_auth[0]:
                raise ConfigurationError("the name in basic_auth must not contain a colon, which ends it in the header")
            self._accepted.append(("basic", base64.b64encode(":".join(basic_auth).encode())))
            schemes.append('Basic realm="metrics", charset="UTF-8"')
        if bearer_token is not None:
            if not _is_text(bearer_token) or not bearer_token.isascii() or " " in bearer_token:
                raise ConfigurationError("bearer_token must be of printable ASCII characters without spaces")
            self._accepted.append(("bearer", bearer_token.encode()))
            schemes.append('Bearer realm="metrics"')
        challenges = [("WWW-Authenticate", scheme) for scheme in schemes]
        self._unauthorized = fixed(HTTPStatus.UNAUTHORIZED, "Credentials are needed.", *challenges)

    def refusal(self, request: Request) -> Answer | None:
        """Return the answer to a request that is not let through, None for one that is."""
        if self.checks_host and not names_loopback(request):
            return FORBIDDEN
        return None if not self._accepted or self._has_credentials(request) else self._unauthorized

    def _has_credentials(self, request: Request) -> bool:
        given = request.headers.get("authorization", [])
        if len(given) != 1:
            return False
        scheme, _, credentials = given[0].partition(" ")
        # Each is compared, and in constant time: how long it takes tells nothing of how much was right.
        found = [
            hmac.compare_digest(credentials.strip().encode("latin-1"), expected) and scheme.lower() == name
            for name, expected in self._accepted
        ]
        return any(found)


def _is_text(one: object) -> bool:
    return isinstance(one, str) and bool(one) and one.isprintable()
