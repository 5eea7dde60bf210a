"""One form of URL outside, another inside, the password hidden in both."""

import pytest

from controlplane.store.logins import Login, Logins
from controlplane.store.urls import sqlalchemy_url

AWKWARD = "p@ss:w/rd?#%é"


@pytest.mark.parametrize("scheme", ["postgresql", "postgres"])
def test_either_scheme_means_psycopg(scheme: str) -> None:
    url = sqlalchemy_url(f"{scheme}://cp:pw@db.test:5433/app?sslmode=require")
    assert url.drivername == "postgresql+psycopg"
    assert (url.host, url.port, url.database) == ("db.test", 5433, "app")
    assert url.query == {"sslmode": "require"}
    assert "pw" not in repr(url)


def test_a_logins_url_keeps_server_and_options_and_survives_any_password() -> None:
    login = Login("cp app", AWKWARD)
    url = login.url("postgresql://root:x@db.test:5433/postgres?sslmode=require", database="a b")
    parsed = sqlalchemy_url(url)
    assert (parsed.username, parsed.password) == ("cp app", AWKWARD)
    assert (parsed.host, parsed.port, parsed.database) == ("db.test", 5433, "a b")
    assert parsed.query == {"sslmode": "require"}


def test_a_logins_url_stays_in_the_database_of_the_other() -> None:
    url = Login("cp", "pw").url("postgresql://root@[::1]:5433/app")
    assert url == "postgresql://cp:pw@[::1]:5433/app"


def test_logins_are_named_by_prefix_with_a_password_each_that_no_repr_shows() -> None:
    logins = Logins.named("eu")
    names = [login.name for login in (logins.owner, logins.control, logins.app)]
    passwords = {login.password for login in (logins.owner, logins.control, logins.app)}
    assert names == ["eu_owner", "eu_control", "eu_app"]
    assert len(passwords) == 3
    assert not any(password in repr(logins) for password in passwords)
