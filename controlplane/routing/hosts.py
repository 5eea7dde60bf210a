"""From a Host header to the name of a tenant. Pure and exact: prefix and suffix matching are the
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


def tenant_name(host_header: str, base_domain: str) -> str | None:
    """What the host is looked up by, in lower case: the one label before `.base_domain`, or the
    whole of a host that may be a tenant's own domain. The latter has dots, so neither can be taken
    for the other.

    None where the host is well-formed and can be no tenant's: the base domain itself, several
    labels before it, an address, a single label. Raises InvalidRequest for what is no host at all.
    """
    name = _host_name(host_header)
    label, dot, rest = name.partition(".")
    if not dot:
        return None
    if rest != base_domain:
        return name if _may_be_owned(name, base_domain) else None
    if not _LABEL.fullmatch(label):
        raise _malformed()
    return label


def is_own_domain(name: str) -> bool:
    """Whether a directory knows this name as the whole of a tenant's own domain."""
    return "." in name


def _may_be_owned(name: str, base_domain: str) -> bool:
    if name == base_domain or name.endswith(f".{base_domain}"):
        return False
    labels = name.split(".")
    return all(map(_LABEL.fullmatch, labels)) and not labels[-1].isdigit()


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
