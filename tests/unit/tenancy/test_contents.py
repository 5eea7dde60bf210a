"""In which batches the pieces of a large schema go."""

from controlplane.tenancy.contents import Piece, batches, going


def table(name, locks=10):
    return Piece("table", name, locks)


def test_a_batch_holds_as_many_neighbours_as_the_budget_allows():
    found = [table(f"t{n}") for n in range(7)]
    assert [len(batch) for batch in batches(found, 30)] == [3, 3, 1]
    assert [piece for batch in batches(found, 35) for piece in batch] == found
    assert len(list(batches(found, 70))) == 1


def test_one_piece_goes_even_where_it_alone_exceeds_the_budget():
    found = [table("small"), table("huge", 1000), table("other")]
    assert [[p.named for p in batch] for batch in batches(found, 30)] == [
        ["small"],
        ["huge"],
        ["other"],
    ]


def test_pieces_of_two_kinds_are_two_batches():
    found = [Piece("view", "v", 1), table("t", 1), table("u", 1)]
    assert [len(batch) for batch in batches(found, 30)] == [1, 2]


def test_nothing_makes_no_batch():
    assert list(batches([], 30)) == []


def test_tables_go_by_one_statement_and_keys_by_one_each_and_nothing_cascades():
    keys = [Piece("foreign key", f'"s".t{n} DROP CONSTRAINT IF EXISTS "k%"', 7) for n in (1, 2)]
    assert going([table('"s"."a%{}"'), table("s.b")]) == 'DROP TABLE IF EXISTS "s"."a%{}", s.b'
    assert going([Piece("materialized view", "s.m", 4)]) == "DROP MATERIALIZED VIEW IF EXISTS s.m"
    assert going(keys) == (
        'ALTER TABLE IF EXISTS "s".t1 DROP CONSTRAINT IF EXISTS "k%"; '
        'ALTER TABLE IF EXISTS "s".t2 DROP CONSTRAINT IF EXISTS "k%"'
    )


def test_a_kind_that_no_template_makes_is_known_as_none():
    assert table("t").known
    assert not Piece("collation", "s.c", 1).known
