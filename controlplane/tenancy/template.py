"""Which revisions and rows a tenant schema is made from: the core's and an application's."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from controlplane import assets
from controlplane.errors import TemplateInvalid
from controlplane.tenancy.sqltext import statements


@dataclass(frozen=True)
class Template:
    """Two folders with `versions/` and `seed.sql` each; `digest` is of everything in them.

    The value is taken once, at start-up: a changed file counts after the next `load`.
    """

    core: Path
    application: Path
    digest: str

    @property
    def folders(self) -> tuple[Path, Path]:
        return self.core, self.application

    @property
    def versions(self) -> tuple[Path, Path]:
        return self.core / "versions", self.application / "versions"

    def unchanged(self) -> None:
        """Raises TemplateInvalid where the files are others than at `load`."""
        if _digest(*self.folders) != self.digest:
            raise TemplateInvalid("The tenant template's files changed; restart to use them.")

    def seeds(self) -> list[str]:
        """The seeds' single statements, the core's first."""
        return [statement for folder in self.folders for statement in _seed(folder)]


def load(folder: Path | None = None) -> Template:
    """The core with the application in `folder`, or with the sample application.

    Raises TemplateInvalid for a folder without versions and for a seed that cannot be read.
    Revisions are judged when they are first compiled.
    """
    core = assets.folder("migrations") / "tenant"
    application = (folder or assets.folder("tenant_template")).resolve()
    for each in (core, application):
        _check(each)
    return Template(core, application, _digest(core, application))


def _check(folder: Path) -> None:
    if not folder.is_dir():
        raise TemplateInvalid(f"The tenant template's folder {folder} does not exist.")
    if not any((folder / "versions").glob("*.py")):
        raise TemplateInvalid(f"{folder / 'versions'} holds no revision; a template needs one.")
    _seed(folder)


def _seed(folder: Path) -> list[str]:
    path = folder / "seed.sql"
    if not path.exists():
        return []
    try:
        return statements(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise TemplateInvalid(f"{path} cannot be read: {error}.") from error


def _digest(*folders: Path) -> str:
    digest = hashlib.sha256()
    for folder in folders:
        for path in [*sorted((folder / "versions").glob("*.py")), folder / "seed.sql"]:
            content = path.read_bytes() if path.exists() else b""
            digest.update(f"{path.name} {len(content)}\n".encode() + content)
    return digest.hexdigest()
