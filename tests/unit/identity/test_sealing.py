"""A sealed secret opens for its tenant, under its name, with its key, and otherwise for nobody."""

from uuid import uuid4

import pytest

from controlplane.errors import SecretUnsealable
from controlplane.identity.sealing import Sealing

ACME, GLOBEX = uuid4(), uuid4()
NAME = "webhook.signing_secret"
SEALING = Sealing(b"a key of the tests, long enough!")


def test_what_was_sealed_is_opened() -> None:
    for text in ("", "hunter2-hunter2-", "déjà vu · 密"):
        sealed = SEALING.seal(text, tenant_id=ACME, name=NAME)
        assert SEALING.open(sealed, tenant_id=ACME, name=NAME) == text


def test_the_same_secret_is_never_sealed_the_same_way() -> None:
    sealed = {SEALING.seal("the same", tenant_id=ACME, name=NAME) for _ in range(20)}
    assert len(sealed) == 20


def test_neither_another_tenant_nor_another_name_nor_another_key_opens_it() -> None:
    sealed = SEALING.seal("hunter2", tenant_id=ACME, name=NAME)
    assert b"hunter2" not in sealed
    others = [
        (SEALING, GLOBEX, NAME),
        (SEALING, ACME, "webhook.other"),
        (Sealing(b"another key of the tests, as long"), ACME, NAME),
    ]
    for sealing, tenant_id, name in others:
        with pytest.raises(SecretUnsealable, match=name):
            sealing.open(sealed, tenant_id=tenant_id, name=name)


def test_what_was_changed_or_cut_is_not_opened() -> None:
    sealed = SEALING.seal("hunter2", tenant_id=ACME, name=NAME)
    changed = [
        sealed[:at] + bytes([sealed[at] ^ 1]) + sealed[at + 1 :] for at in range(len(sealed))
    ]
    for wrong in [*changed, b"", sealed[:1], sealed[:13], sealed[:-1], sealed + b"x"]:
        with pytest.raises(SecretUnsealable):
            SEALING.open(wrong, tenant_id=ACME, name=NAME)
