"""A token bucket for each source."""

from airtunnel.gateway.throttle import KEPT, Throttle, network


def test_a_burst_passes_and_then_the_rate() -> None:
    throttle = Throttle(rate=1, burst=3)
    assert [throttle.take("a", 0.0) for _ in range(5)] == [0, 0, 0, None, None]
    assert throttle.take("a", 1.0) == 2  # and how many were missed since
    assert throttle.take("a", 1.5) is None
    assert throttle.take("a", 2.0) == 1


def test_one_source_takes_nothing_from_another() -> None:
    throttle = Throttle(rate=1, burst=1)
    assert throttle.take("a", 0.0) == 0
    assert throttle.take("a", 0.0) is None
    assert throttle.take("b", 0.0) == 0


def test_a_long_rest_fills_the_bucket_and_no_more() -> None:
    throttle = Throttle(rate=1, burst=2)
    assert [throttle.take("a", 0.0) for _ in range(3)] == [0, 0, None]
    assert [throttle.take("a", 1e6) for _ in range(3)] == [1, 0, None]


def test_the_sources_remembered_are_bounded() -> None:
    throttle = Throttle(rate=0, burst=1)
    for number in range(KEPT + 1):
        assert throttle.take(str(number), 0.0) == 0
    assert len(throttle._buckets) == KEPT
    assert throttle.take(str(KEPT), 0.0) is None


def test_a_network_is_what_one_customer_has_of_addresses() -> None:
    assert network("192.0.2.7") == "192.0.2.7"
    assert network("::ffff:192.0.2.7") == "192.0.2.7"
    assert network("2001:db8:1:2::1") == network("2001:db8:1:2:ffff::9") != network("2001:db8:1:3::1")
    assert network(None) == network("unix") == ""


def test_what_is_given_back_can_be_taken_again_and_no_more_than_there_was() -> None:
    throttle = Throttle(1.0, 2)
    assert [throttle.take("a", 0.0), throttle.take("a", 0.0), throttle.take("a", 0.0)] == [0, 0, None]
    throttle.give_back("a")
    throttle.give_back("nobody")
    assert [throttle.take("a", 0.0), throttle.take("a", 0.0)] == [1, None]
    for _ in range(9):
        throttle.give_back("a")
    assert [throttle.take("a", 0.0) for _ in range(3)] == [1, 0, None]
