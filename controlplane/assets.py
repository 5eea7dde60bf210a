"""Where the files that travel with the package lie, in a wheel and in a checkout alike."""

from pathlib import Path

_PACKAGE = Path(__file__).parent


def folder(name: str) -> Path:
    """The asset folder `migrations`, `tenant_template` or `examples`."""
    packed = _PACKAGE / "_assets" / name
    return packed if packed.is_dir() else _PACKAGE.parent / name
