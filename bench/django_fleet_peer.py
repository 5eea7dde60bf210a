"""django-tenants migrating its tenants, in the virtual environment that holds it: a management command
of a project whose model has the columns of the sample's `documents`.

    python django_fleet_peer.py COMMAND [ARGUMENT …]     the connection as JSON in PEER_CONNECTION

`make N` creates so many tenants at the model's first revision; every other command is Django's own.
"""

import json
import os
import sys

from django.conf import settings
from django.core.management import call_command, execute_from_command_line


def main() -> None:
    settings.configure(
        DATABASES={
            "default": {
                "ENGINE": "django_tenants.postgresql_backend",
                **json.loads(os.environ["PEER_CONNECTION"]),  # noqa: TID251  a program of its own
            }
        },
        DATABASE_ROUTERS=["django_tenants.routers.TenantSyncRouter"],
        INSTALLED_APPS=[
            "django_tenants",
            "django.contrib.contenttypes",
            "peer_shared",
            "peer_documents",
        ],
        SHARED_APPS=["django_tenants", "django.contrib.contenttypes", "peer_shared"],
        TENANT_APPS=["peer_documents"],
        TENANT_MODEL="peer_shared.PeerTenant",
        TENANT_DOMAIN_MODEL="peer_shared.PeerDomain",
        DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
        TENANT_MULTIPROCESSING_MAX_PROCESSES=2,
        TENANT_MULTIPROCESSING_CHUNKS=2,
        USE_TZ=True,
    )
    if sys.argv[1] == "make":
        make(int(sys.argv[2]))
    else:
        execute_from_command_line(sys.argv)


def make(number: int) -> None:
    import django  # noqa: PLC0415  after the settings

    django.setup()
    from django.apps import apps  # noqa: PLC0415  as above
    from django.db import connection  # noqa: PLC0415  as above

    peer_tenant = apps.get_model("peer_shared", "PeerTenant")
    call_command("migrate_schemas", shared=True, verbosity=0)
    for each in range(number):
        tenant = peer_tenant(schema_name=f"peer_{each:05}", name="Peer")
        tenant.auto_create_schema = False
        tenant.save(verbosity=0)
        with connection.cursor() as cursor:
            cursor.execute(f"CREATE SCHEMA {connection.ops.quote_name(tenant.schema_name)}")
    call_command("migrate_schemas", "peer_documents", "0001", tenant=True, verbosity=0)


if __name__ == "__main__":
    main()
