"""A host that is led, in virtual time."""

from mlink.hosts.clocks.estimate import ClockEstimate
from mlink.hosts.clocks.page import ClockPage
from mlink.steered_clock import SteeredClock
from tests.support.hosts.link_model import LinkModel, S


class LedHost:
    """A host in virtual time: exchanges 8 times a second, steering 40 times."""

    def __init__(self, **link):
        self.link = LinkModel(**link)
        self.estimate = ClockEstimate()
        self.page = ClockPage(self.estimate)
        self.clock = SteeredClock(self.page.fd)
        self.exchanging = True
        while not self.estimate.is_known:
            self.step()
        self.origin_ns = 0

    def begin(self):
        self.origin_ns = self.link.now_ns
        self.page.begin(self.origin_ns, self.link.host_ns)

    def step(self, ns=S // 8):
        if self.exchanging and (exchange := self.link.exchange()):
            self.estimate.exchange(*exchange)
        for _ in range(5):
            self.link.advance(ns / 5)
            self.page.steer(self.link.host_ns)

    def error_usec(self):
        return self.clock.from_monotonic_ns(self.link.host_ns) - self.truth_usec()

    def truth_usec(self):
        return (self.link.now_ns - self.origin_ns) // 1000
