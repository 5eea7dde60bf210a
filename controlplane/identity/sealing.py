"""Secrets of tenants that must be read again: sealed with AES-256-GCM before they are stored."""

import secrets
from uuid import UUID

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from controlplane.errors import SecretUnsealable

# The first byte says how the rest is to be read.
_FORMAT = b"\x01"
_NONCE_BYTES = 12
_HEAD_BYTES = 1 + _NONCE_BYTES
_KEY_BYTES = 32


class Sealing:
    """Seals and opens. What was sealed for one tenant under one name opens for no other tenant and
    under no other name, wherever it is copied to.

    `key` is at least 32 bytes long. Each tenant's secrets have a key of their own, derived from it.
    """

    def __init__(self, key: bytes) -> None:
        self._key = key

    def seal(self, text: str, *, tenant_id: UUID, name: str) -> bytes:
        nonce = secrets.token_bytes(_NONCE_BYTES)
        sealed = self._cipher(tenant_id).encrypt(nonce, text.encode(), _bound_to(tenant_id, name))
        return _FORMAT + nonce + sealed

    def open(self, sealed: bytes, *, tenant_id: UUID, name: str) -> str:
        """Raises SecretUnsealable: another key, tenant or name, or not what `seal` has made."""
        try:
            nonce, rest = _split(sealed)
            opened = self._cipher(tenant_id).decrypt(nonce, rest, _bound_to(tenant_id, name))
        except (InvalidTag, ValueError) as error:
            raise SecretUnsealable(
                f"The secret '{name}' was sealed with another key, for another tenant or name."
            ) from error
        return opened.decode()

    def _cipher(self, tenant_id: UUID) -> AESGCM:
        context = b"controlplane tenant secrets " + tenant_id.bytes
        derived = HKDF(SHA256(), length=_KEY_BYTES, salt=None, info=context).derive(self._key)
        return AESGCM(derived)


def _split(sealed: bytes) -> tuple[bytes, bytes]:
    """Nonce and the rest. Raises ValueError."""
    if not sealed.startswith(_FORMAT):
        raise ValueError("It was sealed in a way that this release does not know.")
    return sealed[1:_HEAD_BYTES], sealed[_HEAD_BYTES:]


def _bound_to(tenant_id: UUID, name: str) -> bytes:
    return tenant_id.bytes + name.encode()
