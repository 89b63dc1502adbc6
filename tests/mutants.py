"""A small mutation tester: each mutant of a function must be noticed by the given checks.

A mutant is a function with one change of its syntax tree, such as a condition that is always true
or a statement less. All such changes are generated, and described by their kind and position, so
renaming something cannot break them. A mutant replaces the ``__code__`` of the real function, so
that all callers use it.
"""

from __future__ import annotations

import ast
import inspect
import textwrap
from contextlib import contextmanager
from functools import partial
from itertools import product
from types import CodeType, FunctionType
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from types import ModuleType

    Check = Callable[[], object]
    Change = tuple[str, ast.AST]
    HandMade = tuple[object, Callable[..., object], Callable[..., object]]
    """The owner of a function, the function, and a wrapper that gets it as its first argument."""

COMPARISONS: dict[type[ast.cmpop], tuple[type[ast.cmpop], ...]] = {
    ast.Lt: (ast.LtE, ast.GtE),
    ast.LtE: (ast.Lt, ast.Gt),
    ast.Gt: (ast.GtE, ast.LtE),
    ast.GtE: (ast.Gt, ast.Lt),
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,),
    ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
}
ARITHMETIC: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.Pow: ast.Mult,
}
BOOLEAN = (ast.Compare, ast.BoolOp, ast.UnaryOp)
PARAMETERS = type(pytest.param())
STATEMENTS = (ast.Assign, ast.AnnAssign, ast.AugAssign, ast.Delete, ast.Expr, ast.Raise, ast.Return)


def functions_of(owner: type | ModuleType) -> list[FunctionType]:
    """Return the functions that a class or a module defines, properties included."""
    file, found = inspect.getsourcefile(owner), []
    for member in vars(owner).values():
        function = getattr(member, "fget", None) or getattr(member, "__func__", None) or member
        if isinstance(function, FunctionType) and function.__code__.co_filename == file:
            found.append(function)
    return found


def mutants_of(function: FunctionType) -> dict[str, CodeType]:
    """Return all mutants of a function by their description: kind of change and position."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    (definition,) = tree.body
    assert isinstance(definition, ast.FunctionDef)
    definition.decorator_list = []
    counts: dict[str, int] = {}
    found = {}
    for parent, field, index, node in _places(definition):
        for kind, changes in _changes(parent, field, node):
            counts[kind] = counts.get(kind, 0) + 1
            for what, replacement in changes:
                with _replaced(parent, field, index, ast.copy_location(replacement, node)):
                    found[f"{kind} {counts[kind]} {what}"] = _compiled(tree, function.__name__)
    return found


def _compiled(tree: ast.Module, name: str) -> CodeType:
    """Return the code of the function in a module, which is not run."""
    flags = annotations.compiler_flag
    module = compile(ast.fix_missing_locations(tree), "<mutant>", "exec", flags, dont_inherit=True)
    codes = (constant for constant in module.co_consts if isinstance(constant, CodeType))
    return next(code for code in codes if code.co_name == name)


def _places(node: ast.AST) -> Iterator[tuple[ast.AST, str, int | None, ast.AST]]:
    """Yield every node of a body with its parent, field and index, in the order of the source."""
    for field, value in ast.iter_fields(node):
        if field in {"args", "returns", "annotation", "ctx"} and isinstance(
            node, ast.FunctionDef | ast.AnnAssign | ast.Name
        ):
            continue
        children = list(enumerate(value)) if isinstance(value, list) else [(None, value)]
        for index, child in children:
            if isinstance(child, ast.AST) and not isinstance(child, ast.JoinedStr):
                yield node, field, index, child
                yield from _places(child)


@contextmanager
def _replaced(parent: ast.AST, field: str, index: int | None, node: ast.AST) -> Iterator[None]:
    value = getattr(parent, field)
    if index is None:
        setattr(parent, field, node)
        yield
        setattr(parent, field, value)
    else:
        value[index], old = node, value[index]
        yield
        value[index] = old


def _changes(parent: ast.AST, field: str, node: Any) -> Iterator[tuple[str, list[Change]]]:
    """Yield the kinds of changes at a node, each with all its replacements of the node."""
    is_returned = isinstance(parent, ast.Return) and isinstance(node, BOOLEAN)
    if field in {"test", "ifs", "guard"} or is_returned:
        constants = (True, False) if not isinstance(node, ast.Constant) else (not node.value,)
        yield "condition", [(f"is {value}", ast.Constant(value)) for value in constants]
    if field == "iter":
        yield "loop", [("is empty", ast.Tuple([], ast.Load()))]
    if isinstance(node, STATEMENTS) and not _is_pointless(parent, node):
        yield "statement", [("is deleted", ast.Pass())]
    for changes in (_statement_changes, _expression_changes, _constant_changes):
        yield from changes(node)


def _statement_changes(node: ast.AST) -> Iterator[tuple[str, list[Change]]]:
    match node:
        case ast.match_case(pattern, guard, body):
            never = ast.match_case(pattern, ast.Constant(value=False), body)
            always = [("has no guard", ast.match_case(pattern, None, body))] if guard else []
            yield "case", [("never matches", never), *always]
        case ast.While(test, body):
            yield "repetition", [("runs once", ast.If(test, body, []))]
        case ast.Return(value=ast.expr() as value) if not _is_false(value):
            yield "return", [("is None", ast.Return(ast.Constant(None)))]
        case ast.Assign():
            yield "assignment", list(_assignment_changes(node))
        case ast.AugAssign(target, op, value) if type(op) in ARITHMETIC:
            other = ARITHMETIC[type(op)]
            yield "arithmetic", [(f"is {other.__name__}", ast.AugAssign(target, other(), value))]


def _expression_changes(node: ast.AST) -> Iterator[tuple[str, list[Change]]]:
    match node:
        case ast.Compare(left, [op], comparators):
            others = COMPARISONS[type(op)]
            yield (
                "comparison",
                [(f"is {new.__name__}", ast.Compare(left, [new()], comparators)) for new in others],
            )
        case ast.BoolOp(op, values):
            swapped = ast.BoolOp(ast.Or() if isinstance(op, ast.And) else ast.And(), values)
            yield "logic", [("is swapped", swapped), *_fewer(op, values)]
        case ast.UnaryOp(ast.Not() | ast.USub(), operand):
            yield "sign", [("is dropped", operand)]
        case ast.BinOp(left, ast.BitOr(), right):
            yield "union", [("is its left side", left), ("is its right side", right)]
        case ast.BinOp(left, op, right) if type(op) in ARITHMETIC:
            other = ARITHMETIC[type(op)]
            yield "arithmetic", [(f"is {other.__name__}", ast.BinOp(left, other(), right))]
        case ast.Call(ast.Name("min" | "max" as name), arguments, []) if len(arguments) > 1:
            yield "extreme", list(_other_extremes(name, arguments))


def _constant_changes(node: ast.AST) -> Iterator[tuple[str, list[Change]]]:
    match node:
        case ast.Constant(value=bool(value)):
            yield "flag", [("is flipped", ast.Constant(not value))]
        case ast.Constant(value=int() | float() as value):
            numbers = {value + 1: "one more", value - 1: "one less", 0 * value: "zero"}
            yield (
                "number",
                [(f"is {what}", ast.Constant(n)) for n, what in numbers.items() if n != value],
            )


def _is_pointless(parent: ast.AST, node: ast.stmt) -> bool:
    """Return whether a function without this statement is the same, or runs for ever."""
    match node:
        case ast.Expr(ast.Constant()):
            return True
        case ast.Return(ast.expr() as value) if isinstance(parent, ast.FunctionDef):
            return node is parent.body[-1] and _is_false(value)
    return isinstance(parent, ast.While)


def _is_false(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and not node.value


def _fewer(op: ast.boolop, values: list[ast.expr]) -> Iterator[Change]:
    for number in range(len(values)):
        rest = values[:number] + values[number + 1 :]
        yield f"has no operand {number + 1}", rest[0] if len(rest) == 1 else ast.BoolOp(op, rest)


def _other_extremes(name: str, arguments: list[ast.expr]) -> Iterator[Change]:
    other = {"min": "max", "max": "min"}[name]
    yield f"is {other}", ast.Call(ast.Name(other, ast.Load()), arguments, [])
    for number in range(len(arguments)):
        rest = arguments[:number] + arguments[number + 1 :]
        short = rest[0] if len(rest) == 1 else ast.Call(ast.Name(name, ast.Load()), rest, [])
        yield f"has no argument {number + 1}", short


def _assignment_changes(node: ast.Assign) -> Iterator[Change]:
    """Yield an assignment of nothing, and one to several targets without each of them."""
    if not _is_false(node.value):
        yield "is None", ast.Assign(node.targets, ast.Constant(None))
    if len(node.targets) > 1:
        for number in range(len(node.targets)):
            rest = node.targets[:number] + node.targets[number + 1 :]
            yield f"has no target {number + 1}", ast.Assign(rest, node.value)
    match node:
        case ast.Assign([ast.Tuple(targets)], ast.Tuple(values)):
            for number in range(len(targets)):
                left = ast.Tuple(targets[:number] + targets[number + 1 :], ast.Store())
                right = ast.Tuple(values[:number] + values[number + 1 :], ast.Load())
                yield f"has no target {number + 1}", ast.Assign([left], right)


@contextmanager
def replaced(function: FunctionType, code: CodeType) -> Iterator[None]:
    """Let a function run other code."""
    original = function.__code__
    function.__code__ = code
    try:
        yield
    finally:
        function.__code__ = original


def check(
    function: FunctionType,
    checks: Sequence[Check],
    thorough: Check,
    excused: Mapping[Any, Mapping[str, str]],
) -> None:
    """Fail unless each mutant of a function is noticed, except for exactly the excused ones.

    :param checks: raise an error if they notice something, the quicker the better.
    :param thorough: a slow check, for mutants that all others miss.
    :param excused: descriptions of mutants that cannot be noticed, by function, with the reason.
    """
    order, known, found = list(checks), excused.get(function, {}), []
    for description, code in mutants_of(function).items():
        with replaced(function, code):
            noticed_by = next((check for check in order if is_noticed_by(check)), None)
            if noticed_by is not None:
                order.remove(noticed_by)  # it may notice the next mutant of this function, too
                order.insert(0, noticed_by)
            elif description in known or not is_noticed_by(thorough):
                found.append(description)
    name = function.__qualname__
    unexpected, noticed = set(found) - set(known), set(known) - set(found)
    assert not unexpected, f"nothing notices these mutants of {name}: {sorted(unexpected)}"
    assert not noticed, f"these mutants of {name} are noticed after all: {sorted(noticed)}"


@contextmanager
def wrapped(
    owner: object, function: Callable[..., object], wrapper: Callable[..., object]
) -> Iterator[None]:
    """Let callers of a function call a wrapper, which gets the function as its first argument.

    :param owner: the class or the module in which the callers find the function.
    """
    name = function.__name__
    assert getattr(owner, name) is function

    def call(*args: object, **kwargs: object) -> object:
        return wrapper(function, *args, **kwargs)

    setattr(owner, name, call)
    try:
        yield
    finally:
        setattr(owner, name, function)


def each_hand_made(cases: Sequence[HandMade]) -> pytest.MarkDecorator:
    """Return the parametrization of a test by hand-made mutants, as its argument ``mutant``."""
    ids = [f"{function.__qualname__}-{wrapper.__qualname__}" for _, function, wrapper in cases]
    return pytest.mark.parametrize("mutant", cases, ids=ids)


def check_hand_made(mutant: HandMade, checks: Sequence[Check]) -> None:
    """Fail unless a hand-made mutant is noticed."""
    with wrapped(*mutant):
        assert any(map(is_noticed_by, checks)), "nothing notices this mutant"


def is_noticed_by(check: Check) -> bool:
    """Return whether a check fails, in whichever way."""
    try:
        check()
    except (Exception, pytest.fail.Exception):  # noqa: BLE001  # a mutant may raise anything
        return True
    return False


def unit_checks(module: ModuleType) -> Iterator[Check]:
    """Yield the calls of a module's test functions, each with every set of its parameters.

    Tests that need fixtures, or that generate their examples, are left out.
    """
    for name, test in vars(module).items():
        if name.startswith("test_") and not hasattr(test, "hypothesis"):
            for arguments in _parameters(test):
                if arguments.keys() == inspect.signature(test).parameters.keys():
                    yield partial(test, **arguments)


def _parameters(test: Callable[..., object]) -> Iterator[dict[str, object]]:
    """Yield the arguments of each call of a parametrized test."""
    marks = [mark for mark in getattr(test, "pytestmark", ()) if mark.name == "parametrize"]
    for combination in product(*(mark.args[1] for mark in marks)):
        arguments: dict[str, object] = {}
        for mark, given in zip(marks, combination, strict=True):
            names = mark.args[0]
            values = given.values if isinstance(given, PARAMETERS) else None
            if isinstance(names, str):
                names, values = (names,), values or (given,)
            arguments |= zip(names, values or given, strict=True)
        yield arguments
