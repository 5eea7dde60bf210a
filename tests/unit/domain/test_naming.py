"""Names that come from outside are parsed once; names that we make can be told from others."""

from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controlplane.domain.naming import (
    Mark,
    parse_mark,
    parse_schema_name,
    parse_subdomain,
    schema_name,
)
from controlplane.errors import SubdomainInvalid, SubdomainReserved

TENANT = UUID("0f8fad5b-d9cb-469f-a165-70867728950e")
OTHER = UUID("7c9e6679-7425-40de-944b-e07fc1f90ae7")

RESERVED = [
    "www",
    "api",
    "admin",
    "app",
    "auth",
    "mail",
    "smtp",
    "ftp",
    "static",
    "cdn",
    "status",
    "health",
    "metrics",
    "localhost",
    "autodiscover",
    "mta-sts",
    "default",
    "system",
    "ns0",
    "ns1",
    "ns2",
    "ns10",
    "ns123456",
]


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("acme", "acme"),
        ("abc", "abc"),
        ("Acme-EU", "acme-eu"),
        ("3com", "3com"),
        ("123", "123"),
        ("a-b", "a-b"),
        ("a-b--c", "a-b--c"),
        ("a--b", "a--b"),
        ("a" * 63, "a" * 63),
        ("nsa", "nsa"),
        ("ns-1", "ns-1"),
        ("www1", "www1"),
        ("my-admin", "my-admin"),
    ],
)
def test_a_usable_label_is_taken_in_lower_case(text: str, label: str) -> None:
    assert parse_subdomain(text) == label


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a",
        "ab",
        "a" * 64,
        "-acme",
        "acme-",
        "---",
        "xn--acme",
        "ab--cd",
        "acme.eu",
        "acme_eu",
        "acme eu",
        " acme",
        "acme ",
        "acme\n",
        "acme\r\n",
        "\nacme",
        "ac\x00me",
        "acmé",
        "acme\u0661",
        "\u212acme",
        "acme/../x",
        "acme%00",
        "acme;drop",
        'acme"',
        "acme'",
        "*.acme",
        "*",
    ],
)
def test_what_is_no_usable_label_is_refused_and_names_the_field(text: str) -> None:
    with pytest.raises(SubdomainInvalid) as caught:
        parse_subdomain(text)
    (fault,) = caught.value.faults
    assert (fault.pointer, fault.code) == ("/subdomain", "subdomain_invalid")


@pytest.mark.parametrize("word", [*RESERVED, *(word.upper() for word in RESERVED)])
def test_a_reserved_word_is_refused_and_named(word: str) -> None:
    with pytest.raises(SubdomainReserved, match=f"'{word.lower()}' is reserved") as caught:
        parse_subdomain(word)
    (fault,) = caught.value.faults
    assert (fault.pointer, fault.code) == ("/subdomain", "subdomain_reserved")


@given(st.text(max_size=70))
def test_whatever_passes_is_a_label_that_the_database_takes_too(text: str) -> None:
    try:
        label = parse_subdomain(text)
    except (SubdomainInvalid, SubdomainReserved):
        return
    assert 3 <= len(label) <= 63
    assert set(label) <= set("abcdefghijklmnopqrstuvwxyz0123456789-")
    assert label[0] != "-" != label[-1]


@given(st.from_regex(r"[a-z0-9]{3,63}", fullmatch=True))
def test_a_parsed_label_is_parsed_to_itself(text: str) -> None:
    try:
        label = parse_subdomain(text.upper())
    except SubdomainReserved:
        return
    assert parse_subdomain(label) == label == text


def test_a_schema_is_named_by_the_tenants_hex_digits() -> None:
    assert schema_name(TENANT) == "tenant_0f8fad5bd9cb469fa16570867728950e"


@given(st.uuids())
def test_every_schema_name_fits_an_identifier_and_parses(tenant: UUID) -> None:
    name = schema_name(tenant)
    assert parse_schema_name(name) == name
    assert len(name.encode()) <= 63


@pytest.mark.parametrize(
    "text",
    [
        "",
        "public",
        "tenant_",
        "tenant_0f8fad5bd9cb469fa16570867728950",
        "tenant_0f8fad5bd9cb469fa16570867728950e0",
        "tenant_0F8FAD5BD9CB469FA16570867728950E",
        "tenant_0f8fad5b-d9cb-469f-a165-70867728950e",
        "tenant_0f8fad5bd9cb469fa16570867728950e\n",
        " tenant_0f8fad5bd9cb469fa16570867728950e",
        'tenant_0f8fad5bd9cb469fa16570867728950e"; DROP SCHEMA public; --',
        "tenant_0f8fad5bd9cb469fa1657086772895\u0660e",
    ],
)
def test_no_other_name_is_a_tenant_schemas(text: str) -> None:
    with pytest.raises(ValueError, match="not a tenant schema's name"):
        parse_schema_name(text)


@given(st.uuids(), st.uuids(), st.uuids())
def test_a_mark_is_read_back_from_its_text(
    installation: UUID, tenant: UUID, operation: UUID
) -> None:
    mark = Mark(installation, tenant, operation)
    assert parse_mark(str(mark)) == mark


@given(st.text(max_size=200) | st.none())
def test_other_text_is_no_mark(text: str | None) -> None:
    assert parse_mark(text) is None


@pytest.mark.parametrize(
    "change",
    [
        str.upper,
        lambda text: text + " ",
        lambda text: text + "\n",
        lambda text: " " + text,
        lambda text: text + "/" + str(TENANT),
        lambda text: text.replace("-", ""),
        lambda text: text.replace("controlplane/", ""),
        lambda text: text.replace("controlplane", "Controlplane"),
        lambda text: text.rpartition("/")[0],
        lambda text: text[:-1] + "g",
        lambda text: f"was {text}",
        lambda text: f"{text}\n{text}",
    ],
)
def test_a_mark_with_anything_changed_is_none(change: type[str]) -> None:
    text = str(Mark(TENANT, OTHER, TENANT))
    assert parse_mark(text) is not None
    assert parse_mark(change(text)) is None


def test_a_mark_belongs_to_its_installation_and_tenant_whatever_the_operation() -> None:
    mark = Mark(installation=TENANT, tenant=OTHER, operation=TENANT)
    assert mark.same_tenant(Mark(TENANT, OTHER, OTHER))
    assert not mark.same_tenant(Mark(OTHER, OTHER, TENANT))
    assert not mark.same_tenant(Mark(TENANT, TENANT, TENANT))
    assert not mark.same_tenant(None)
