"""Two workers of mpi4py.futures or dask.distributed on this host, with the tasks of `cargo bench --bench cluster`.

    mpirun -n 3 --mca btl tcp,self --mca btl_tcp_if_include lo python -m mpi4py.futures cluster.py mpi
    dask scheduler --host 127.0.0.1 --port 8799 --no-dashboard
    dask worker tcp://127.0.0.1:8799 --nworkers 1 --nthreads 1 --no-dashboard   # twice
    python cluster.py dask tcp://127.0.0.1:8799
"""

import sys
import time


def empty(x):
    return x


def empty_chunk(numbers):
    return [empty(x) for x in numbers]


def nap(x):
    time.sleep(0.001)
    return x


def seconds(work):
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def report(name, single, chunked, naps):
    print(
        f"{name}: {single:.0f} us per empty task, {chunked:.2f} us in chunks of 1000; "
        f"4000 naps of 1 ms: {naps * 1e3:.0f} ms",
        flush=True,
    )


def measure_mpi(rounds):
    from mpi4py.futures import MPIPoolExecutor

    with MPIPoolExecutor(max_workers=2) as pool:
        list(pool.map(empty, range(1000), chunksize=100))
        for _ in range(rounds):
            single = seconds(lambda: list(pool.map(empty, range(2000)))) / 2000 * 1e6
            chunked = seconds(lambda: list(pool.map(empty, range(100_000), chunksize=1000))) / 100_000 * 1e6
            naps = seconds(lambda: list(pool.map(nap, range(4000), chunksize=20)))
            report("mpi4py.futures", single, chunked, naps)


def measure_dask(address, rounds):
    from distributed import Client

    with Client(address) as client:
        client.wait_for_workers(2)
        chunks = [list(range(first, first + 1000)) for first in range(0, 100_000, 1000)]

        def run(task, inputs):
            client.gather(client.map(task, inputs, pure=False))

        run(empty, range(100))
        for _ in range(rounds):
            single = seconds(lambda: run(empty, range(2000))) / 2000 * 1e6
            chunked = seconds(lambda: run(empty_chunk, chunks)) / 100_000 * 1e6
            naps = seconds(lambda: run(nap, range(4000)))
            report("dask.distributed", single, chunked, naps)


if __name__ == "__main__":
    if sys.argv[1] == "mpi":
        measure_mpi(3)
    else:
        measure_dask(sys.argv[2], 3)
