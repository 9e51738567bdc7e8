"""Calls of a manager's objects: prints the medians in nanoseconds of a method and of two calls of a dictionary."""

import sys
import time
from multiprocessing.managers import SyncManager


class Counter:
    def __init__(self):
        self.count = 0

    def add(self, by):
        self.count += by
        return self.count


class Manager(SyncManager):
    pass


Manager.register("Counter", Counter)


def median(call, count):
    for _ in range(count // 10):
        call()
    times = []
    for _ in range(count):
        begun = time.perf_counter_ns()
        call()
        times.append(time.perf_counter_ns() - begun)
    times.sort()
    return times[count // 2]


def main():
    count = int(sys.argv[1])
    with Manager() as manager:
        counter, table = manager.Counter(), manager.dict()
        table["a"] = 1
        print(
            median(lambda: counter.add(1), count),
            median(lambda: table["a"], count),
            median(lambda: table.update(a=2), count),
        )


if __name__ == "__main__":
    main()
