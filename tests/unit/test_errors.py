"""The error tree is imported from one place, whichever module a class stands in."""

import pkgutil
from importlib import import_module

from controlplane import errors


def test_every_error_is_imported_from_the_package_itself() -> None:
    defined = set()
    for found in pkgutil.iter_modules(errors.__path__, f"{errors.__name__}."):
        names = vars(import_module(found.name)).items()
        defined |= {
            name
            for name, value in names
            if isinstance(value, type) and value.__module__ == found.name
        }
    assert defined == set(errors.__all__)
    assert "TenantNotFound" in defined
