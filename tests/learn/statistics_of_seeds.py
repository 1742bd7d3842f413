"""What is said about the returns of a few seeds: interquartile mean and its bootstrap interval."""
import math, random, statistics

RESAMPLES, SEED = 10_000, 0


def iqm(values):
    """Interquartile mean: without the lowest and the highest quarter, each rounded down to whole values."""
    v = sorted(values)
    cut = len(v) // 4
    return statistics.fmean(v[cut:len(v) - cut])


def percentile(ordered, p):
    """Of sorted values, with straight lines between them: p = 0 is the lowest, p = 100 the highest."""
    place = (len(ordered) - 1) * p / 100
    below = math.floor(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (place - below)


def bootstrap_interval(strata, statistic=iqm, level=95.0, resamples=RESAMPLES, seed=SEED):
    """(low, high) of the percentile bootstrap of a statistic over all values. `strata`: the seeds' returns, task by
    task; seeds are drawn anew within each task, so that every resample has all tasks in it. One task: a bootstrap over
    seeds."""
    dice = random.Random(seed)
    drawn = sorted(statistic([value for task in strata for value in dice.choices(task, k=len(task))])
                   for _ in range(resamples))
    return percentile(drawn, (100 - level) / 2), percentile(drawn, (100 + level) / 2)
