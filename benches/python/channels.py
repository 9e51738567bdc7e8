"""Prints the seconds of a message one way, of a round trip (p50, p99), and of a large message one way."""

import multiprocessing
import sys
import time


def make(context, kind, capacity):
    """Returns the functions that send and receive."""
    if kind == "SimpleQueue":
        queue = context.SimpleQueue()
        return queue.put, queue.get
    if kind == "Queue":
        queue = context.Queue(capacity)
        return queue.put, queue.get
    receiver, sender = context.Pipe(duplex=False)
    return sender.send, receiver.recv


def stream(put, count):
    for n in range(count):
        put(n)


def stream_large(put, count, size):
    for n in range(count):
        put(bytes([n % 256]) * size)


def echo(get, put):
    while (n := get()) is not None:
        put(n)


def timed(context, target, arguments, get, count):
    child = context.Process(target=target, args=arguments)
    child.start()
    get()
    begun = time.perf_counter()
    for _ in range(count):
        get()
    took = time.perf_counter() - begun
    child.join()
    return took / count


def main():
    kind = sys.argv[1]
    messages, trips, large, size, capacity = map(int, sys.argv[2:])
    context = multiprocessing.get_context("fork")
    put, get = make(context, kind, capacity)
    print(timed(context, stream, (put, messages + 1), get, messages))
    there, requests = make(context, kind, capacity)
    back, answers = make(context, kind, capacity)
    child = context.Process(target=echo, args=(requests, back))
    child.start()
    times = []
    for n in range(trips + 100):
        begun = time.perf_counter()
        there(n)
        assert answers() == n
        if n >= 100:
            times.append(time.perf_counter() - begun)
    there(None)
    child.join()
    times.sort()
    print(times[len(times) // 2], times[len(times) * 99 // 100])
    put, get = make(context, kind, capacity)
    print(timed(context, stream_large, (put, large + 1, size), get, large))


main()
