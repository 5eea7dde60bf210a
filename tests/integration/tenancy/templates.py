"""Applications' templates as an operator would bring them."""

from pathlib import Path
from textwrap import dedent, indent

from controlplane.tenancy.template import Template, load

_REVISION = '''"""A revision."""

import sqlalchemy as sa
from alembic import op

from controlplane.tenancy.columns import key, stamp, words
from controlplane.tenancy.revisions import drop_tenant_table, grant, protect, tenant_table

revision = "{name}"
down_revision = {down!r}
branch_labels = {labels!r}
depends_on = None
{more}

def upgrade() -> None:
{upgrade}


def downgrade() -> None:
{downgrade}
'''
NOTES = """
tenant_table("notes", sa.Column("id", sa.Integer(), primary_key=True, autoincrement=False), sa.Column("body", sa.Text()))
"""


def application(
    folder: Path,
    *,
    upgrade: str = NOTES,
    downgrade: str = 'drop_tenant_table("notes")',
    seed: str = "",
) -> Template:
    """A template with one revision, `own_0001`, that makes the table `notes`."""
    revision(folder, "own_0001", upgrade=upgrade, downgrade=downgrade)
    (folder / "seed.sql").write_text(seed)
    return load(folder)


def revision(
    folder: Path,
    name: str,
    *,
    upgrade: str,
    down: str | None = None,
    downgrade: str = 'raise NotImplementedError("rows cannot be told apart any more")',
    more: str = "",
) -> None:
    (folder / "versions").mkdir(parents=True, exist_ok=True)
    content = _REVISION.format(
        name=name,
        down=down,
        labels=None if down else ("template",),
        more=more,
        upgrade=indent(dedent(upgrade).strip(), "    "),
        downgrade=indent(dedent(downgrade).strip(), "    "),
    )
    (folder / "versions" / f"{name}.py").write_text(content)
