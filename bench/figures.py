"""Statistics of the rounds."""
import math
import statistics
from dataclasses import dataclass

# Student's t, 97.5 %, by degrees of freedom; beyond the table the last is close enough.
STUDENT = [12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131,
           2.120, 2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042]


@dataclass(frozen=True)
class Ratio:
    """Geometric mean of the rounds' ratios with its 95 % interval; no interval for a single round."""
    mean: float
    low: float
    high: float
    rounds: int

    def __format__(self, spec):
        numbers = [format(number, spec or ".3f") for number in (self.mean, self.low, self.high)]
        return numbers[0] if self.rounds < 2 else "{} ({}..{})".format(*numbers)


def ratio(ours, theirs):
    """Of two rows of numbers above 0, paired by round."""
    logs = [math.log(a / b) for a, b in zip(ours, theirs, strict=True)]
    mean = statistics.fmean(logs)
    half = 0.0
    if len(logs) > 1:
        half = STUDENT[min(len(logs) - 2, len(STUDENT) - 1)] * statistics.stdev(logs) / math.sqrt(len(logs))
    return Ratio(math.exp(mean), math.exp(mean - half), math.exp(mean + half), len(logs))


def geometric_mean(numbers):
    return math.exp(statistics.fmean(math.log(number) for number in numbers))


def deviation_percent(numbers):
    """Standard deviation over the mean, in per cent."""
    return 100 * statistics.stdev(numbers) / statistics.fmean(numbers) if len(numbers) > 1 else 0.0
