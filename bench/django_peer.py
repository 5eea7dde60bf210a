"""django-tenants doing the benchmark's transaction, in the virtual environment that holds it.

It reads from its standard input: first one line of JSON, {"connection": …, "schemas": […]}, then a
number of transactions a line. For each of those lines it prints their durations, in seconds, as
JSON.
"""

import json
import sys
from time import perf_counter

import django
from django.conf import settings
from django.db import connection, transaction


def main() -> None:
    job = json.loads(sys.stdin.readline())
    settings.configure(
        DATABASES={"default": {"ENGINE": "django_tenants.postgresql_backend", **job["connection"]}},
        DATABASE_ROUTERS=["django_tenants.routers.TenantSyncRouter"],
        INSTALLED_APPS=["django_tenants", "django.contrib.contenttypes"],
        SHARED_APPS=["django_tenants"],
        TENANT_APPS=["django.contrib.contenttypes"],
        TENANT_MODEL="django_tenants.Tenant",
        TENANT_LIMIT_SET_CALLS=True,
        USE_TZ=True,
    )
    django.setup()
    number = 0
    for line in sys.stdin:
        durations = []
        for _ in range(int(line)):
            began = perf_counter()
            request(job["schemas"][number % len(job["schemas"])], number)
            durations.append(perf_counter() - began)
            number += 1
        print(json.dumps(durations), flush=True)


def request(schema: str, number: int) -> None:
    connection.set_schema(schema)
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT id, name FROM users WHERE id = %s", [number % 100 + 1])
        cursor.fetchone()
        cursor.execute("INSERT INTO audit (what) VALUES (%s)", ["read"])


if __name__ == "__main__":
    main()
