from __future__ import annotations

from bench.bodies import Bodies


def test_bodies_have_their_size_and_differ() -> None:
    bodies = Bodies(1000)
    made = [bytes(bodies.body(number, size)) for number, size in ((0, 1000), (1, 1000), (2, 10), (70_000, 1000))]
    assert [len(body) for body in made] == [1000, 1000, 10, 1000]
    assert made[0] != made[1]


def test_the_same_number_has_the_same_body() -> None:
    bodies = Bodies(100)
    assert bodies.body(7, 100) == bodies.body(7, 100)
