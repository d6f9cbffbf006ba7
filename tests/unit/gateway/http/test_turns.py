"""Turns: one slice in a turn of the loop, in the order in which they were asked for, whatever becomes of one."""

from __future__ import annotations

import asyncio

import pytest

from gateway.http.turns import Turns


async def turn_the_loop(times: int = 1) -> None:
    for _ in range(times):
        await asyncio.sleep(0)


async def test_one_in_a_turn_and_in_order() -> None:
    turns, seen = Turns(), list[int]()
    for number in range(3):
        turns.ask(lambda number=number: seen.append(number))  # type: ignore[misc]  # mypy cannot infer the default's use
    assert seen == []
    for count in (1, 2, 3, 3):
        await turn_the_loop()
        assert seen == list(range(count))


async def test_who_asks_again_comes_after_the_others() -> None:
    turns, seen = Turns(), list[str]()

    def long() -> None:
        seen.append("long")
        if len(seen) < 5:
            turns.ask(long)

    turns.ask(long)
    turns.ask(lambda: seen.append("short"))
    await turn_the_loop(6)
    assert seen == ["long", "short", "long", "long", "long"]


async def test_what_came_meanwhile_is_seen_between_two() -> None:
    turns, seen = Turns(), list[str]()
    for name in "ab":
        turns.ask(lambda name=name: seen.append(name))  # type: ignore[misc]  # as above
    asyncio.get_running_loop().call_soon(seen.append, "hit")
    await turn_the_loop(2)
    assert seen == ["a", "hit", "b"]


async def test_a_turn_that_fails_costs_the_others_nothing(caplog: pytest.LogCaptureFixture) -> None:
    turns, seen = Turns(), list[int]()

    def fail() -> None:
        raise ValueError("a slice")

    turns.ask(fail)
    turns.ask(lambda: seen.append(1))
    await turn_the_loop(3)
    assert seen == [1]
    assert "a slice" in caplog.text


async def test_a_task_waits_for_its_turn_and_may_leave() -> None:
    turns, seen = Turns(), list[int]()

    async def work(number: int) -> None:
        await turns.wait()
        seen.append(number)

    tasks = [asyncio.create_task(work(number)) for number in range(3)]
    await turn_the_loop()
    tasks[1].cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert seen == [0, 2]
