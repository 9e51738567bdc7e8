"""The same work on the process pools of Python.

    peer.py start BACKEND     prints the seconds of two starts in this fresh process
    peer.py serve BACKEND     reads one job a line, prints its seconds as a JSON list
"""

import json
import multiprocessing
import sys
import time

WORKERS = 2

# Bytes that a worker only reads.
ONE_WAY = 64 << 20


def square(x):
    return x * x


def identity(x):
    return x


def total(numbers):
    return float(numbers.sum())


def shared_total(name, count):
    """Adds the numbers in shared memory, to which a worker attaches once."""
    import numpy

    if name not in attached:
        from multiprocessing.shared_memory import SharedMemory

        attached[name] = SharedMemory(name)
    return float(numpy.frombuffer(attached[name].buf, numpy.float64, count).sum())


attached = {}


class Serial:
    def map(self, function, inputs, chunk=None):
        return list(map(function, inputs))

    def apply(self, function, item):
        return function(item)


class Pool:
    """multiprocessing.Pool"""

    def __init__(self, method):
        self.pool = multiprocessing.get_context(method).Pool(WORKERS)

    def map(self, function, inputs, chunk=None):
        return self.pool.map(function, inputs, chunksize=chunk)

    def apply(self, function, item):
        return self.pool.apply(function, (item,))

    def submit_all(self, function, items):
        handles = [self.pool.apply_async(function, (item,)) for item in items]
        return [handle.get() for handle in handles]

    def close(self):
        self.pool.terminate()
        self.pool.join()


class SharedMemoryPool(Pool):
    """The same, with numbers in a block of multiprocessing.shared_memory."""

    def __init__(self):
        from multiprocessing.shared_memory import SharedMemory

        # Before the workers are forked: each of them would otherwise start a process that removes the block.
        self.memory = SharedMemory(create=True, size=ONE_WAY)
        super().__init__("fork")

    def apply(self, function, item):
        if function is not total:
            return super().apply(function, item)
        import numpy

        numpy.frombuffer(self.memory.buf, numpy.float64, len(item))[:] = item
        return self.pool.apply(shared_total, (self.memory.name, len(item)))

    def close(self):
        super().close()
        self.memory.close()
        self.memory.unlink()


class Mpire:
    def __init__(self, method):
        from mpire import WorkerPool

        self.pool = WorkerPool(n_jobs=WORKERS, start_method=method, keep_alive=True)

    def map(self, function, inputs, chunk=None):
        return self.pool.map(function, inputs, chunk_size=chunk, concatenate_numpy_output=False)

    def apply(self, function, item):
        return self.pool.apply(function, (item,))

    def submit_all(self, function, items):
        handles = [self.pool.apply_async(function, (item,)) for item in items]
        return [handle.get() for handle in handles]

    def close(self):
        self.pool.terminate()


class Executor:
    """concurrent.futures.ProcessPoolExecutor"""

    def __init__(self, chunk):
        self.chunk = chunk
        self.pool = self.make()

    def make(self):
        from concurrent.futures import ProcessPoolExecutor

        return ProcessPoolExecutor(max_workers=WORKERS)

    def map(self, function, inputs, chunk=None):
        return list(self.pool.map(function, inputs, chunksize=chunk or self.chunk))

    def apply(self, function, item):
        return self.pool.submit(function, item).result()

    def submit_all(self, function, items):
        handles = [self.pool.submit(function, item) for item in items]
        return [handle.result() for handle in handles]

    def close(self):
        self.pool.shutdown()


class Loky(Executor):
    def make(self):
        from loky import ProcessPoolExecutor

        return ProcessPoolExecutor(max_workers=WORKERS)

    def close(self):
        self.pool.shutdown(kill_workers=True)


def make(backend):
    kind, _, argument = backend.partition("-")
    if kind == "serial":
        return Serial()
    if kind == "pool":
        return Pool(argument)
    if kind == "mpire":
        return Mpire(argument)
    if kind == "shared":
        return SharedMemoryPool()
    kinds = {"executor": Executor, "loky": Loky}
    return kinds[kind](int(argument or 1))


def start(backend):
    """Both pools live until the end, as a server that is reused has to."""
    times, pools = [], []
    for _ in range(2):
        begun = time.perf_counter()
        pool = make(backend)
        assert pool.apply(square, 3) == 9
        times.append(time.perf_counter() - begun)
        pools.append(pool)
    print(json.dumps(times), flush=True)
    for pool in pools:
        pool.close()


def mapped(pool, count, chunk=None):
    begun = time.perf_counter()
    outputs = pool.map(square, range(count), chunk)
    took = time.perf_counter() - begun
    assert outputs[-1] == (count - 1) ** 2
    return [took / count]


def one_at_a_time(pool, count):
    times = []
    for item in range(count):
        begun = time.perf_counter()
        pool.apply(square, item)
        times.append(time.perf_counter() - begun)
    times.sort()
    return [times[(count - 1) // 2], times[(count * 99 - 1) // 100]]


def there_and_back(pool, data, calls):
    pool.apply(identity, data)
    begun = time.perf_counter()
    for _ in range(calls):
        assert len(pool.apply(identity, data)) == len(data)
    return [(time.perf_counter() - begun) / calls]


def repeated(calls, call):
    call()
    begun = time.perf_counter()
    for _ in range(calls):
        call()
    return (time.perf_counter() - begun) / calls


def one_way(pool, calls):
    import numpy

    numbers = numpy.full(ONE_WAY // 8, 0.5)

    def call():
        assert pool.apply(total, numbers) == len(numbers) / 2

    return [repeated(calls, call)]


def strings(pool, calls):
    items = [f"{i * 7:06}" for i in range(12_000)]

    def call():
        assert pool.apply(len, items) == len(items)

    return [repeated(calls, call) / len(items)]


def handles(pool, count):
    begun = time.perf_counter()
    outputs = pool.submit_all(square, range(count))
    took = time.perf_counter() - begun
    assert outputs[-1] == (count - 1) ** 2
    return [took / count]


def job(pool, words):
    name, count = words[0], int(words[1])
    if name == "map":
        return mapped(pool, count)
    if name == "chunk1":
        return mapped(pool, count, 1)
    if name == "calls":
        return one_at_a_time(pool, count)
    if name == "bytes":
        return there_and_back(pool, bytes(8 << 20), count)
    if name == "floats":
        import numpy

        return there_and_back(pool, numpy.full(1 << 20, 0.5), count)
    others = {"one_way": one_way, "strings": strings, "handles": handles}
    return others[name](pool, count)


def serve(backend):
    pool = None
    for line in sys.stdin:
        words = line.split()
        if words[0] in ("image", "documents", "model"):
            import workloads

            times = [workloads.run(backend, words[0], [int(word) for word in words[1:]])]
        else:
            if pool is None:
                pool = make(backend)
                pool.map(square, range(100))
            times = job(pool, words)
        print(json.dumps(times), flush=True)
    if hasattr(pool, "close"):
        pool.close()


if __name__ == "__main__":
    {"start": start, "serve": serve}[sys.argv[1]](sys.argv[2])
