"""The two templates between which the benchmark of rollouts upgrades."""

import shutil
from pathlib import Path

from controlplane import assets
from controlplane.tenancy.template import Template, load

_REVISION = '''"""One column and one index."""

import sqlalchemy as sa
from alembic import op

revision = "app_0002"
down_revision = "app_0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("documents", sa.Column("remark", sa.Text()))
    op.create_index("ix_documents_remark", "documents", ["remark"])


def downgrade() -> None:
    op.drop_index("ix_documents_remark", "documents")
    op.drop_column("documents", "remark")
'''


def templates(folder: Path) -> tuple[Template, Template]:
    """The sample's, and the sample's with one more revision."""
    for name in ("old", "new"):
        shutil.copytree(assets.folder("tenant_template"), folder / name)
    (folder / "new" / "versions" / "app_0002_remark.py").write_text(_REVISION)
    return load(folder / "old"), load(folder / "new")
