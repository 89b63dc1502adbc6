from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import pytest

from airflow_provider_buildpixel.api import paging
from airflow_provider_buildpixel.builds import (
    dispatch,
    list_order,
    record,
    request,
    request_window,
)
from airflow_provider_buildpixel.builds.task_try import TryOfTask
from tests import mutants
from tests.api import test_endpoints, test_paging
from tests.builds import (
    test_dispatch,
    test_list_order,
    test_record,
    test_request,
    test_request_window,
    test_task_try,
)

if TYPE_CHECKING:
    from types import FunctionType, ModuleType

GROUPS = [
    # functions, and the tests that have to notice their mutants
    (mutants.functions_of(dispatch), [test_dispatch]),
    (mutants.functions_of(dispatch.RequestSearch), [test_dispatch]),
    (mutants.functions_of(record), [test_record]),
    (mutants.functions_of(record.DispatchRecord), [test_record]),
    (mutants.functions_of(request), [test_request, test_dispatch]),
    (mutants.functions_of(request.BuildFilter), [test_request]),
    (mutants.functions_of(request.BuildRequest), [test_request]),
    (mutants.functions_of(request_window.RequestWindow), [test_request_window]),
    (mutants.functions_of(TryOfTask), [test_task_try]),
    (mutants.functions_of(paging), [test_paging]),
    (mutants.functions_of(paging.Pager), [test_endpoints, test_paging, test_list_order]),
    (mutants.functions_of(list_order), [test_list_order]),
    (mutants.functions_of(list_order.Since), [test_list_order]),
    (mutants.functions_of(list_order.ListOrder), [test_list_order]),
    (mutants.functions_of(list_order._ListReader), [test_list_order]),
]
CASES = [
    pytest.param(function, modules, id=function.__qualname__)
    for functions, modules in GROUPS
    for function in functions
]
RANDOM_LISTS = [
    *(partial(test_list_order.read_a_random_list, seed) for seed in (475, 2238, 1)),
    *(partial(test_list_order.read_a_changing_list, seed) for seed in (607, 175, 54, 482, 1001323)),
]
"""Random lists of which earlier versions left out a build."""

EQUIVALENT = {
    dispatch.RequestSearch.on_builds: {
        "number 2 is one less": "the first of one candidate is the last one, too",
    },
    request.line_of: {
        "logic 2 has no operand 2": "no setting has the id None, or an empty one",
    },
    list_order.is_newest_first: {
        "flag 1 is flipped": "both sequences have the same length",
    },
    list_order._ListReader._shows_needed: {
        "logic 2 has no operand 2": "a safeguard: what the list of all builds has shown of its "
        "order was enough to read the lists of statuses",
    },
}


def read_random_lists() -> None:
    """Read the same random lists each time."""
    for seed in range(200):
        test_list_order.read_a_random_list(seed)
        test_list_order.read_a_changing_list(seed)


@pytest.mark.parametrize(("function", "modules"), CASES)
def test_mutants_are_noticed(function: FunctionType, modules: list[ModuleType]) -> None:
    """With any change of what decides about builds, a promise is broken."""
    checks = [check for module in modules for check in mutants.unit_checks(module)]
    if test_list_order in modules:
        checks += RANDOM_LISTS
    thorough = read_random_lists if test_list_order in modules else checks[0]
    mutants.check(function, checks, thorough, EQUIVALENT)
