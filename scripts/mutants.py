"""What can be broken in a module: one small change of its text each, Python and SQL alike. Pure."""

import ast
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

_COMPARE: dict[type[ast.cmpop], tuple[str, str]] = {
    ast.Eq: ("==", "!="),
    ast.NotEq: ("!=", "=="),
    ast.Lt: ("<", "<="),
    ast.LtE: ("<=", "<"),
    ast.Gt: (">", ">="),
    ast.GtE: (">=", ">"),
    ast.Is: ("is", "is not"),
    ast.IsNot: ("is not", "is"),
    ast.In: ("in", "not in"),
    ast.NotIn: ("not in", "in"),
}
_ARITHMETIC: dict[type[ast.operator], tuple[str, str]] = {
    ast.Add: ("+", "-"),
    ast.Sub: ("-", "+"),
    ast.Mult: ("*", "/"),
    ast.Div: ("/", "*"),
    ast.Pow: ("**", "*"),
}
# Members that are taken for one another.
_MEMBERS = {
    "Action": ("ENSURE", "ABSENT"),
    "Reach": ("LOCAL", "REMOTE"),
    "StepState": ("PENDING", "STARTED", "DONE", "UNDO_STARTED", "UNDONE"),
    "OperationState": (
        *("PENDING", "RUNNING", "SUCCEEDED", "UNWINDING"),
        *("FAILED", "CANCELLED", "PARKED", "ABANDONED"),
    ),
    "TenantState": ("FAILED", "ACTIVE"),
}
_SQL = re.compile(r"\b(SELECT|UPDATE|INSERT INTO|DELETE FROM|FOR KEY SHARE|make_interval)\b")
# Each match of each pattern is one mutant; all of them leave the statement valid.
_SQL_CHANGES: list[tuple[str, str | Callable[[re.Match[str]], str] | None]] = [
    (r"\bAND \([^()]*\)", ""),
    (r"\bAND [^()\n]+ (?:<|<=|=|IS) [^\n]*?(?=\s*RETURNING|\s*\n|\"|$)", ""),
    (r"(?<=\bWHERE )[\w.]+ = [\w.%()]+s?(?=\s| AND)", "true"),
    (r"(?<=\bWHERE )state IN \([^)]*\)", "true"),
    (r"SKIP LOCKED", ""),
    (r"FOR UPDATE SKIP LOCKED", ""),
    (r"FOR NO KEY UPDATE", "FOR KEY SHARE"),
    (r"FOR KEY SHARE", "FOR NO KEY UPDATE"),
    (r" FOR (?:KEY SHARE|NO KEY UPDATE)", ""),
    (r"(?<=[\w)]) [+] (?:1\b|\(deadline|make)", lambda m: m.group().replace("+", "-")),
    (r" \* ", " + "),
    (r"clock_timestamp\(\)", "now()"),
    (r"IS NOT NULL", "IS NULL"),
    (r"IS NULL", "IS NOT NULL"),
    (r" <= ", " > "),
    (r" < ", " >= "),
    (r"\bleast\(", "greatest("),
    (r"\bgreatest\(", "least("),
    (r"coalesce\(([^,()]+), ([^()]+(?:\(\))?)\)", r"\1"),
    (r"coalesce\(([^,()]+), ([^()]+(?:\(\))?)\)", r"\2"),
    (r"'(?:pending|running|unwinding|done|undone|controlplane_\w+)'", "'other'"),
    (r"(?<![\w.$])\d+\b(?! second)", lambda m: str(int(m.group()) + 1)),
    (r"(?<=,)\s+\w+ = (?:NULL|%\(\w+\)s|\w+ [+] 1)(?=,|\n)", None),
    (r" ORDER BY \w+", ""),
    (r" AND s\.ordinal = %\(ordinal\)s", ""),
    (r" LIMIT %\(limit\)s", ""),
    (r" ON CONFLICT DO NOTHING", ""),
]


@dataclass(frozen=True)
class Mutant:
    """One change: the bytes from `start` to `end` become `text`."""

    start: int
    end: int
    text: str
    line: int

    def of(self, source: bytes) -> bytes:
        return source[: self.start] + self.text.encode() + source[self.end :]

    def told(self, source: bytes) -> str:
        before = " ".join(source[self.start : self.end].decode().split())
        return f"{self.line}: {before!r} -> {self.text!r}"


def _is_docstring(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


class _Finder(ast.NodeVisitor):
    """Collects what may be changed; docstrings, annotations, decorators, keys and
    f-strings may not."""

    def __init__(self, source: bytes) -> None:
        self.source = source
        self.starts = [0]
        for line in source.splitlines(keepends=True):
            self.starts.append(self.starts[-1] + len(line))
        self.found: list[Mutant] = []

    def at(self, node: ast.expr | ast.stmt) -> tuple[int, int]:
        assert node.end_lineno is not None and node.end_col_offset is not None  # noqa: S101, PT018  parsed
        end = self.starts[node.end_lineno - 1] + node.end_col_offset
        return self.starts[node.lineno - 1] + node.col_offset, end

    def add(self, start: int, end: int, text: str) -> None:
        self.found.append(Mutant(start, end, text, self.source[:start].count(b"\n") + 1))

    def between(self, left: ast.expr, right: ast.expr, change: tuple[str, str]) -> None:
        start, end = self.at(left)[1], self.at(right)[0]
        text = self.source[start:end].decode()
        if change[0] in text:
            self.add(start, end, text.replace(*change, 1))

    def visit(self, node: ast.AST) -> None:
        name = type(node).__name__
        if isinstance(node, ast.JoinedStr | ast.Import | ast.ImportFrom) or _is_docstring(node):
            return
        if isinstance(node, ast.Subscript):
            return  # a wrong key is a crash, which anything would notice
        getattr(self, f"change_{name}", lambda _node: None)(node)
        for field, value in ast.iter_fields(node):
            if field not in {"annotation", "returns", "decorator_list"}:
                for child in value if isinstance(value, list) else [value]:
                    if isinstance(child, ast.AST):
                        self.visit(child)

    def change_Compare(self, node: ast.Compare) -> None:  # noqa: N802  the node's name
        for left, op, right in zip(
            [node.left, *node.comparators], node.ops, node.comparators, strict=False
        ):
            self.between(left, right, _COMPARE[type(op)])

    def change_BoolOp(self, node: ast.BoolOp) -> None:  # noqa: N802  the node's name
        change = ("and", "or") if isinstance(node.op, ast.And) else ("or", "and")
        for left, right in zip(node.values, node.values[1:], strict=False):
            self.between(left, right, change)

    def change_BinOp(self, node: ast.BinOp) -> None:  # noqa: N802  the node's name
        if type(node.op) in _ARITHMETIC:
            self.between(node.left, node.right, _ARITHMETIC[type(node.op)])

    def change_UnaryOp(self, node: ast.UnaryOp) -> None:  # noqa: N802  the node's name
        if isinstance(node.op, ast.Not):
            self.add(self.at(node)[0], self.at(node.operand)[0], "")

    def change_If(self, node: ast.If | ast.IfExp) -> None:  # noqa: N802  the node's name
        if isinstance(node.test, ast.Name | ast.Attribute | ast.Call):
            self.add(self.at(node.test)[0], self.at(node.test)[0], "not ")

    change_IfExp = change_If  # noqa: N815  the node's name

    def change_Expr(self, node: ast.Expr) -> None:  # noqa: N802  the node's name
        self.add(*self.at(node), "pass")

    def change_Raise(self, node: ast.Raise) -> None:  # noqa: N802  the node's name
        self.add(*self.at(node), "pass")

    def change_Return(self, node: ast.Return) -> None:  # noqa: N802  the node's name
        if node.value is not None:
            self.add(*self.at(node.value), "None")

    def change_Constant(self, node: ast.Constant) -> None:  # noqa: N802  the node's name
        start, end = self.at(node)
        match node.value:
            case bool():
                self.add(start, end, str(not node.value))
            case int() | float():
                self.add(start, end, str(node.value + 1))
            case str() if _SQL.search(node.value):
                self.change_sql(start, self.source[start:end].decode())
            case str():
                self.add(start, end, repr(f"XX{node.value}"))

    def change_sql(self, start: int, text: str) -> None:
        for pattern, becomes in _SQL_CHANGES:
            for m in re.finditer(pattern, text):
                if becomes is None:  # an assignment, with the comma before it
                    self.add(start + m.start() - 1, start + m.end(), "")
                else:
                    after = becomes(m) if callable(becomes) else m.expand(becomes)
                    self.add(start + m.start(), start + m.end(), after)

    def change_Attribute(self, node: ast.Attribute) -> None:  # noqa: N802  the node's name
        members = _MEMBERS.get(node.value.id, ()) if isinstance(node.value, ast.Name) else ()
        if node.attr in members:
            other = members[(members.index(node.attr) + 1) % len(members)]
            end = self.at(node)[1]
            self.add(end - len(node.attr), end, other)

    def change_Tuple(self, node: ast.Tuple | ast.Set) -> None:  # noqa: N802  the node's name
        for one, following in zip(node.elts, node.elts[1:], strict=False):
            if isinstance(one, ast.Call | ast.Name | ast.Attribute):
                self.add(self.at(one)[0], self.at(following)[0], "")

    change_Set = change_Tuple  # noqa: N815  the node's name


def mutants(source: bytes) -> Iterator[Mutant]:
    """Every mutant of a module, in the order of its text."""
    finder = _Finder(source)
    finder.visit(ast.parse(source))
    yield from sorted(finder.found, key=lambda m: (m.start, m.end))
