import pytest
from hypothesis import given
from hypothesis import strategies as st

from controlplane.errors import InvalidRequest
from controlplane.routing.hosts import is_own_domain, parse_base_domain, tenant_name

BASE = "example.com"
LONGEST = "a" * 63


@pytest.mark.parametrize(
    ("host", "label"),
    [
        ("acme.example.com", "acme"),
        ("ACME.EXAMPLE.COM:443", "acme"),
        ("acme.example.com.", "acme"),
        ("acme.example.com.:8443", "acme"),
        ("acme.example.com:", "acme"),
        ("a-1.example.com", "a-1"),
        ("xn--bcher-kva.example.com", "xn--bcher-kva"),
        (f"{LONGEST}.example.com", LONGEST),
    ],
)
def test_one_label_before_the_base_domain_names_a_tenant(host, label):
    assert tenant_name(host, BASE) == label
    assert not is_own_domain(label)


@pytest.mark.parametrize(
    ("host", "name"),
    [
        ("acme.test", "acme.test"),
        ("Portal.ACME.test.:8443", "portal.acme.test"),
        ("xn--bcher-kva.test", "xn--bcher-kva.test"),
        ("acme.example.org", "acme.example.org"),
        ("evilexample.com", "evilexample.com"),
        ("acme.evilexample.com", "acme.evilexample.com"),
        ("acme.example.com.attacker.com", "acme.example.com.attacker.com"),
        ("example.com.attacker.com", "example.com.attacker.com"),
        ("com.example", "com.example"),
        ("1.2.3.4.test", "1.2.3.4.test"),
    ],
)
def test_a_foreign_host_is_looked_up_as_a_whole(host, name):
    assert tenant_name(host, BASE) == name
    assert is_own_domain(name)


@pytest.mark.parametrize(
    "host",
    [
        "example.com",
        "EXAMPLE.com.:80",
        "a.b.example.com",
        "my_label.acme.test",
        "-acme.test",
        "acme-.test",
        f"{LONGEST}a.acme.test",
        "com",
        "acme",
        "localhost:8000",
        "my_service:8000",
        "127.0.0.1",
        "127.0.0.1:8000",
        "[::1]",
        "[2001:db8::1]:443",
        "[::ffff:127.0.0.1]:80",
    ],
)
def test_a_host_that_can_be_no_tenants_has_no_name(host):
    assert tenant_name(host, BASE) is None


@pytest.mark.parametrize(
    "host",
    [
        "",
        ".",
        ":443",
        ".example.com",
        "acme..example.com",
        "acme.example.com..",
        " acme.example.com",
        "acme.example.com ",
        "a b.example.com",
        "acme.example.com\n",
        "acme.example.com\x00",
        "acme.example.com:443\n",
        "acme.example.com:80a",
        "acme.example.com:80:80",
        "acme.example.com:123456",
        "acme.example.com:٤٤٣",
        "acme.example.com/path",
        "user@acme.example.com",
        "acme.example.com,b.example.com",
        "'; DROP TABLE tenants; --.example.com",
        "acm%65.example.com",
        "bücher.example.com",
        "\u212aite.example.com",  # the Kelvin sign, whose lower case is an ASCII k
        "acme\uff0eexample.com",  # a full-width dot
        "my_label.example.com",
        "-acme.example.com",
        "acme-.example.com",
        f"{LONGEST}a.example.com",
        f"{'a.' * 130}example.com",
        "[::1",
        "[::1]x",
        "[::1]:x",
        "[acme.example.com]",
        "::1",
    ],
)
def test_what_is_no_host_name_is_malformed(host):
    with pytest.raises(InvalidRequest):
        tenant_name(host, BASE)


@given(st.text(alphabet=st.sampled_from("aZ09-_.:[]@ /%é\x00"), max_size=20))
def test_a_label_is_the_whole_of_what_stands_before_the_base_domain(prefix):
    try:
        label = tenant_name(f"{prefix}.example.com", BASE)
    except InvalidRequest:
        return
    assert label is None or label == prefix.lower()


@given(st.text(alphabet=st.sampled_from("aZ09-_.:[]@ /%é\x00"), max_size=20))
def test_a_whole_host_that_is_looked_up_is_what_was_asked_for(host):
    try:
        name = tenant_name(host, BASE)
    except InvalidRequest:
        return
    assert name is None or name == host.partition(":")[0].lower().removesuffix(".")


@pytest.mark.parametrize("base", ["example.com", "localhost", "apps.example.co.uk"])
def test_a_label_before_any_base_domain_is_found(base):
    assert tenant_name(f"acme.{base}:80", parse_base_domain(base.upper())) == "acme"


@pytest.mark.parametrize(
    "base", ["", ".", ".example.com", "example.com:443", "127.0.0.1", "exa mple.com", "bücher.de"]
)
def test_a_base_domain_that_is_no_domain_name_is_refused(base):
    with pytest.raises(ValueError, match="not a domain name"):
        parse_base_domain(base)
