"""The documents of a company: SQL that knows nothing of tenants.

It runs in a transaction of the tenant, so `documents` is the tenant's table.
"""

from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

from psycopg import AsyncConnection
from psycopg.rows import class_row

# Every company files under the same key: what is another's stays another's all the same.
_OURSELVES = UUID(int=1)
_CLIENT = (
    "INSERT INTO clients (id, kind, name) VALUES (%s, 'company', 'Ourselves')"
    " ON CONFLICT (id) DO NOTHING"
)
_REGISTRATION = (
    "INSERT INTO registrations (id, number, client_id) VALUES (%s, 'R-1', %s)"
    " ON CONFLICT (id) DO NOTHING"
)
_DOCUMENT = (
    "INSERT INTO documents (id, registration_id, name, storage_path, mime_type, size_bytes)"
    " VALUES (%s, %s, %s, %s, %s, %s)"
)
_FOUND = (
    "SELECT id, name, mime_type, size_bytes FROM documents"
    " WHERE strpos(lower(name), lower(%s)) > 0 ORDER BY created_at DESC, id LIMIT 100"
)


@dataclass(frozen=True)
class NewDocument:
    """What a client sends."""

    name: str
    mime_type: str
    size_bytes: int


@dataclass(frozen=True)
class Document(NewDocument):
    """What a client is shown."""

    id: UUID


async def create(conn: AsyncConnection[Any], new: NewDocument) -> Document:
    """File a document."""
    made = Document(new.name, new.mime_type, new.size_bytes, uuid4())
    await conn.execute(_CLIENT, [_OURSELVES])
    await conn.execute(_REGISTRATION, [_OURSELVES, _OURSELVES])
    path = f"{made.id}/{made.name}"
    columns = [made.id, _OURSELVES, made.name, path, made.mime_type, made.size_bytes]
    await conn.execute(_DOCUMENT, columns)
    return made


async def search(conn: AsyncConnection[Any], words: str) -> list[Document]:
    """The newest hundred whose name holds the words; all names hold the empty ones."""
    async with conn.cursor(row_factory=class_row(Document)) as cursor:
        await cursor.execute(_FOUND, [words])
        return await cursor.fetchall()
