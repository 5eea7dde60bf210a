"""Which hosts a tenant may claim."""

import pytest

from controlplane.domain.own_hosts import MAX_CHARACTERS, Ours, is_within, parse_host
from controlplane.errors import DomainInvalid, DomainReserved

OURS = Ours("apps.example.com", ("lb.provider.test", "api.example.org"))


@pytest.mark.parametrize(
    ("text", "host"),
    [
        ("www.acme.example", "www.acme.example"),
        ("WWW.Acme.Example.", "www.acme.example"),
        ("acme.example", "acme.example"),
        ("a-1.b--2.co.uk", "a-1.b--2.co.uk"),
        ("Bücher.example", "xn--bcher-kva.example"),
        ("straße.example", "xn--strae-oqa.example"),
        ("xn--bcher-kva.example", "xn--bcher-kva.example"),
        ("www。acme.example", "www.acme.example"),
        ("1.2.3.4.example", "1.2.3.4.example"),
        # Beside ours, and only alike.
        ("www.example.com", "www.example.com"),
        ("myapps.example.com", "myapps.example.com"),
        ("apps.example.com.evil.example", "apps.example.com.evil.example"),
        ("other.provider.test", "other.provider.test"),
    ],
)
def test_a_host_is_kept_in_ascii_and_lower_case(text: str, host: str) -> None:
    assert parse_host(text, OURS) == host


@pytest.mark.parametrize(
    "text",
    [
        *("", ".", "com", "localhost", "acme.", ".acme.example", "acme..example", "acme.example.."),
        *("*.acme.example", "a_b.example", "_acme.example", "acme.example:443", "acme.example/x"),
        *("https://acme.example", "user@acme.example", " acme.example", "acme.example\n"),
        *("acme\0.example", "-a.example", "a-.example", "ab--c.example", "xn--zzzzzz99999.example"),
        *(
            "192.0.2.1",
            "\uff11\uff12\uff17.0.0.1",
            "127.1",
            "0x7f.1",
            "acme.0x7f",
            "acme.123",
            "[::1]",
            "2001:db8::1",
        ),
        *("☃.example", "a\u200db.example", "\ud800.example", f"{'a' * 64}.example"),
        f"{'a.' * ((MAX_CHARACTERS - 6) // 2)}examples",
        "ü" * 100_000,
    ],
)
def test_what_is_no_host_name_is_refused_by_its_field(text: str) -> None:
    with pytest.raises(DomainInvalid, match=r"www\.example\.com") as caught:
        parse_host(text, OURS)
    (fault,) = caught.value.faults
    assert (fault.pointer, fault.code) == ("/host", "domain_invalid")


@pytest.mark.parametrize(
    "text",
    [
        *("apps.example.com", "acme.apps.example.com", "a.b.APPS.example.com."),
        # Whoever has what lies above has ours, too.
        *("example.com", "example.org", "provider.test"),
        *("lb.provider.test", "x.lb.provider.test", "api.example.org", "x.api.example.org"),
    ],
)
def test_what_is_ours_is_refused_with_a_remedy(text: str) -> None:
    with pytest.raises(DomainReserved, match="choose") as caught:
        parse_host(text, OURS)
    (fault,) = caught.value.faults
    assert (fault.pointer, fault.code) == ("/host", "domain_reserved")


def test_the_longest_host_leaves_room_for_its_challenge() -> None:
    label, rest = "a" * 49, "b" * 59
    longest = f"{label}.{rest}.{rest}.{rest}"
    assert len(longest) == MAX_CHARACTERS == 229
    assert parse_host(longest, OURS) == longest
    with pytest.raises(DomainInvalid):
        parse_host(f"a{longest}", OURS)


def test_a_name_is_within_itself_and_what_lies_above_whole_labels_alone() -> None:
    assert is_within("a.example.com", "example.com")
    assert is_within("example.com", "example.com")
    assert not is_within("an-example.com", "example.com")
    assert not is_within("example.com", "a.example.com")
