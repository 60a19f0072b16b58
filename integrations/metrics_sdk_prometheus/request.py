"""The head of an HTTP/1 request, and whether its `Host` is one of ours."""

from __future__ import annotations

import ipaddress
import re
from typing import NamedTuple

#: More than that is not read.
MAX_HEAD_BYTES = 16 * 1024

_LINE = re.compile(r"([A-Za-z]{1,20}) (/[!-~]*) HTTP/1\.[0-9]\Z")
_HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^\[\]:]*)(?::[0-9]{1,5})?\Z")
_END = re.compile(rb"\n\r?\n")


class Request(NamedTuple):
    """The head of a request: the method, the path without the query, and the headers with names in lower case."""

    method: str
    path: str
    headers: dict[str, list[str]]

    def header(self, name: str) -> str:
        """Return the values of a header, joined as one list (RFC 9110, section 5.3)."""
        return ",".join(self.headers.get(name, []))


def is_complete(head: bytes, known: int) -> bool:
    """Tell whether `head` reaches to the empty line that ends the headers; its first `known` bytes alone do not."""
    return _END.search(head, max(0, known - 2)) is not None


def parse(head: bytes) -> Request | None:
    """Return the request that `head` is, or None if it is none that HTTP/1 knows."""
    lines = head[: _END.search(head + b"\n\n").start()].decode("latin-1").split("\n")  # type: ignore[union-attr]
    line = _LINE.match(lines[0].rstrip("\r"))
    if line is None:
        return None
    headers: dict[str, list[str]] = {}
    for text in lines[1:]:
        name, colon, value = text.rstrip("\r").partition(":")
        if not colon or not name or name.strip() != name:
            return None
        headers.setdefault(name.lower(), []).append(value.strip())
    return Request(line[1], line[2].partition("?")[0], headers)


def names_loopback(request: Request) -> bool:
    """Tell whether the one `Host` of a request is localhost or an IP address.

    A page that rebinds its own name to 127.0.0.1 is still asked for under its name, so that no web page can read what is
    served on loopback. With an address in the URL there is no name to rebind.
    """
    hosts = request.headers.get("host", [])
    match = _HOST.match(hosts[0]) if len(hosts) == 1 else None
    if match is None:
        return False
    if match[1].lower() == "localhost":
        return True
    try:
        ipaddress.ip_address(match[1].strip("[]"))
    except ValueError:
        return False
    return True
