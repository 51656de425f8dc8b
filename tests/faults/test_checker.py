"""The checker sees what a service does wrong."""

import asyncio

import pytest

from tests.faults.checker import Checker
from tests.faults.fronts import CleanError, Page, WrongError

PAGE = 2


class Memory:
    """A service that is right, until a test breaks it."""

    def __init__(self) -> None:
        self.records: list[int] = []
        self.down = False

    async def create(self, number: int, _: float | None) -> None:
        self._answer()
        self.records.append(number)

    async def get(self, number: int, _: float | None) -> None:
        self._answer()
        if number not in self.records:
            raise WrongError("NOT_FOUND")

    async def page(self, token: str, _: float | None) -> Page:
        self._answer()
        end = int(token or 0) + PAGE
        return Page(self.records[end - PAGE : end], str(end) if end < len(self.records) else "")

    def _answer(self) -> None:
        if self.down:
            raise CleanError("UNAVAILABLE")


@pytest.fixture
async def service() -> Memory:
    return Memory()


@pytest.fixture
async def checker(service: Memory) -> Checker:
    checker = Checker(service, 1.0)
    for _ in range(5):
        await checker.write()
    return checker


async def test_a_service_that_is_right_is_right(service: Memory, checker: Checker) -> None:
    async with checker.load():
        await asyncio.sleep(0.2)
    assert checker.counts.wrong == []
    assert checker.counts.calls == checker.counts.right
    assert checker.acknowledged == len(service.records)
    assert await checker.lost() == 0


@pytest.mark.parametrize(
    ("records", "wrong"),
    [
        ([1, 2, 4, 5], "lacks 1 of 5"),
        ([1, 2, 2, 3, 4, 5], "1 records twice"),
        ([1, 2, 3, 4, 5, 99], "nobody wrote"),
    ],
)
async def test_a_list_that_is_not_what_was_acknowledged_is_wrong(
    service: Memory, checker: Checker, records: list[int], wrong: str
) -> None:
    service.records = records
    assert not await checker.walk()
    assert wrong in checker.counts.wrong[0]


async def test_a_record_that_is_gone_is_lost(service: Memory, checker: Checker) -> None:
    service.records.remove(3)
    assert await checker.lost() == 1


async def test_a_record_whose_write_failed_may_be_there_or_not(service: Memory, checker: Checker) -> None:
    service.down, checker.calm = True, False
    assert not await checker.write()
    service.down = False
    assert await checker.walk()
    service.records.append(6)
    assert await checker.walk()


async def test_an_error_is_clean_in_a_fault_and_wrong_in_calm(service: Memory, checker: Checker) -> None:
    service.down, checker.calm = True, False
    await checker.write()
    assert (checker.counts.clean.total(), checker.counts.wrong) == (1, [])
    checker.calm = True
    await checker.write()
    assert "in calm" in checker.counts.wrong[0]
