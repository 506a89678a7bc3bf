"""A link between two machines in virtual time: delay, asymmetry, jitter, loss, rates of clocks."""

import random
from dataclasses import dataclass, field

S = 1_000_000_000


@dataclass
class LinkModel:
    """Two clocks and what is between them; times in ns.

    The controller's clock is the true one. Asymmetry 0.3: one way takes 30 % more than the mean,
    the other 30 % less.
    """

    delay_ns: float = 100_000
    asymmetry: float = 0.0
    jitter_ns: float = 10_000
    loss: float = 0.0
    ppm: float = 0.0
    """How much faster the host's clock runs."""
    wander_ppm: float = 0.0
    """Standard deviation that the rate gains per square root of a second."""
    offset_ns: int = 777_000_000_000
    seed: int = 1
    now_ns: int = 5_000 * S
    """The true time."""
    rng: random.Random = field(init=False)

    def __post_init__(self):
        self.rng = random.Random(self.seed)
        self._host_ns = float(0)

    @property
    def host_ns(self):
        """The host's reading now."""
        return self.offset_ns + round(self._host_ns)

    @property
    def truth_ns(self):
        """Controller − host now."""
        return self.now_ns - self.host_ns

    def advance(self, ns):
        """Let time pass."""
        ns = round(ns)
        self.now_ns += ns
        self._host_ns += ns * (1 + self.ppm * 1e-6)
        if self.wander_ppm:
            self.ppm += self.rng.gauss(0, self.wander_ppm) * (ns / S) ** 0.5

    def jump(self, ns):
        """Let the host's clock jump ahead: the controller was suspended. Below 0: the host was."""
        self.offset_ns += max(0, ns)
        self.now_ns -= min(0, ns)

    def way(self, share):
        """Return how long one way takes this time."""
        late = self.rng.expovariate(1 / self.jitter_ns) if self.jitter_ns else 0
        return self.delay_ns * share + late

    def exchange(self):
        """Ask and receive the answer: its four readings; None when it was lost."""
        t1 = self.host_ns
        self.advance(self.way(1 + self.asymmetry))
        t2 = self.now_ns
        self.advance(5_000)
        t3 = self.now_ns
        self.advance(self.way(1 - self.asymmetry))
        return None if self.rng.random() < self.loss else (t1, t2, t3, self.host_ns)
