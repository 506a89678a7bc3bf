"""What is logged about losses, and the failures that they are in a strict run."""

from __future__ import annotations

import logging

from mlink.engine.account.gaps import GapWarnings, losses_as_failures
from mlink.engine.status import StreamStatus, SubscriptionStatus
from mlink.tap.catalog import TAP_NAME


def stream(**counts: int) -> StreamStatus:
    rec = SubscriptionStatus("rec", "in", queue_limit=256, **counts)
    return StreamStatus("cam", "video", "Frame", sent=1000, subscriptions=[rec])


class Log:
    def __init__(self) -> None:
        self.lines: list[tuple[str, str]] = []
        self.warnings = GapWarnings(self._log)

    def _log(self, module: str, level: int, text: str) -> None:
        assert level == logging.WARNING
        self.lines.append((module, text))


def test_ten_thousand_gaps_in_two_seconds_are_three_lines() -> None:
    log, found = Log(), stream()
    (rec,) = found.subscriptions
    for step in range(10_000):
        rec.lost = rec.refused = step + 1
        log.warnings.watch([found], step / 5000)
    log.warnings.conclude([found])
    what = "item(s) of cam.video did not reach input 'in': its queue of 256 was full"
    assert log.lines == [
        ("rec", f"1 {what}"),
        ("rec", f"5000 {what} (5001 in total)"),
        ("rec", f"4999 {what} (10000 in total)"),
    ]


def test_a_loss_that_lasts_has_ever_fewer_lines_until_it_has_paused() -> None:
    log, found = Log(), stream()
    (rec,) = found.subscriptions
    for second in range(600):
        rec.lost = rec.refused = second + 1
        log.warnings.watch([found], second)
    assert len(log.lines) == 7 + 8  # at 0, 1, 3, 7, 15, 31 and 63 s, then each minute
    log.lines.clear()
    for second in (1000, 1001):
        rec.lost = rec.refused = second
        log.warnings.watch([found], second)
    assert len(log.lines) == 2


def test_each_cause_has_its_own_line_at_the_module_that_lost_the_items() -> None:
    log = Log()
    found = stream(lost=12, refused=3)
    found.lost_at_source = 7
    log.warnings.watch([found], 1.0)
    assert log.lines == [
        ("cam", "7 item(s) of its stream cam.video were lost before they could be sent"),
        ("rec", "3 item(s) of cam.video did not reach input 'in': its queue of 256 was full"),
    ]
    log.lines.clear()
    log.warnings.conclude([found])  # two that the sender has never explained
    what = "2 item(s) of cam.video did not reach input 'in': cam ended before it reported why"
    assert log.lines == [("rec", what)]


def test_a_module_that_has_died_is_not_called_slow() -> None:
    log = Log()
    log.warnings.watch([stream(lost=3, refused=3)], 1.0, gone={"rec"})
    assert "its process had ended" in log.lines[0][1]


def test_nothing_lost_is_no_line_and_no_failure() -> None:
    log = Log()
    log.warnings.watch([stream()], 1.0)
    log.warnings.conclude([stream()])
    assert log.lines == []
    assert list(losses_as_failures([stream()])) == []


def test_a_loss_in_a_strict_run_names_stream_subscription_count_and_causes() -> None:
    found = stream(lost=12, refused=3, not_taken=5)
    found.lost_at_source = 7
    (failure,) = losses_as_failures([found])
    assert failure.module == "rec"
    assert failure.message == (
        "17 of 1000 item(s) of cam.video are missing at rec.in: 7 lost by cam before they could be "
        "sent, 3 refused by its full queue, 2 lost for a reason that was not reported, 5 not taken "
        "out of its queue"
    )
    assert 'in = { from = "cam.video", queue = N }' in failure.remedy


def test_a_tap_may_lose_in_a_strict_run() -> None:
    found = stream()
    found.subscriptions.append(SubscriptionStatus(TAP_NAME, "cam.video", lost=4, refused=4))
    assert list(losses_as_failures([found])) == []
