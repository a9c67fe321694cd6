"""Two rows of bench/run.py out of one run: the second one takes what the first one has left."""
import collections


def both_of(row, kith, peer, name):
    """A function that adds two rows. `measure(program, left)` returns the first figure and appends the second to left[program]."""
    def two(title, measure, unit, factor, better, second_title, second_unit, second_factor, second_better):
        left = collections.defaultdict(list)
        row(title, unit, factor, better, (lambda: measure(kith, left)) if kith else None, (lambda: measure(peer, left)) if peer else None, name)
        row(second_title, second_unit, second_factor, second_better, (lambda: left[kith].pop(0)) if left[kith] else None,
            (lambda: left[peer].pop(0)) if left[peer] else None, name)
    return two
