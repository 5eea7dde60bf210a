"""From a Host header to the label of a tenant. Pure and exact: prefix and suffix matching are the
classic holes."""

import re

from controlplane.errors import InvalidRequest

# ASCII classes are spelled out: \d and \w match digits and letters of every script.
_PORT = re.compile(r"(?::[0-9]{0,5})?")
_NAME = re.compile(r"[a-z0-9_-]+(?:\.[a-z0-9_-]+)*")
_LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
_MAX_NAME = 253


def parse_base_domain(text: str) -> str:
    """The domain below which every tenant has one label, in lower case.

    Raises ValueError where it is not a plain domain name: a port, a leading dot, an address or
    letters outside ASCII (write those in punycode).
    """
    name = text.lower() if text.isascii() else ""
    labels = name.split(".")
    if not all(_LABEL.fullmatch(label) for label in labels) or labels[-1].isdigit():
        raise ValueError(f"{text!r} is not a domain name")
    return name


def is_label(text: str) -> bool:
    """Whether this may stand before the base domain."""
    return _LABEL.fullmatch(text) is not None


def tenant_label(host_header: str, base_domain: str) -> str | None:
    """The one label before `.base_domain`, in lower case.

    None where the host is well-formed and no tenant's: the base domain itself, several labels
    before it, an address, another domain. Raises InvalidRequest for what is no host at all.
    """
    name = _host_name(host_header)
    label, dot, rest = name.partition(".")
    if not dot or rest != base_domain:
        return None
    if not _LABEL.fullmatch(label):
        raise _malformed()
    return label


def _host_name(host_header: str) -> str:
    """The host in lower case, without port and trailing dot. Raises InvalidRequest."""
    # lower() turns some letters outside ASCII (the Kelvin sign) into ASCII ones.
    if not host_header.isascii():
        raise _malformed()
    if host_header.startswith("["):
        return _bracketed(host_header)
    name, _, _ = host_header.partition(":")
    if not _PORT.fullmatch(host_header[len(name) :]):
        raise _malformed()
    name = name.lower().removesuffix(".")
    if len(name) > _MAX_NAME or not _NAME.fullmatch(name):
        raise _malformed()
    return name


def _bracketed(host_header: str) -> str:
    address, bracket, port = host_header.rpartition("]")
    if not bracket or not re.fullmatch(r"\[[0-9A-Fa-f:.]+", address) or not _PORT.fullmatch(port):
        raise _malformed()
    return address + bracket


def _malformed() -> InvalidRequest:
    return InvalidRequest("The Host header is missing, doubled or not a host name.")
