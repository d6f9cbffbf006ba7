from cache.readahead import Window


def test_narrow_first_then_wider_while_cold():
    window = Window(4)
    seen = [window.ahead]
    for _ in range(3):
        window.passed(cold=True)
        seen.append(window.ahead)
    assert seen == [1, 2, 4, 4]


def test_a_warm_read_asks_for_nothing_ahead_until_it_turns_cold():
    window = Window(4)
    window.passed(cold=False)
    assert window.ahead == 0
    window.passed(cold=True)
    assert window.ahead == 1


def test_no_readahead_at_all():
    window = Window(0)
    window.passed(cold=True)
    assert window.ahead == 0
