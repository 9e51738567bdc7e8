"""The three workloads of mpire's published benchmark, each from start to end of its pool."""

import multiprocessing
import os
import random
import tempfile
import time

import numpy

WORKERS = 2
state = {}


# 1. One image shared with all workers, and filters to convolve it with.


def convolve(image, taps):
    """Every fifth row and column of the convolution, which is computed in full."""
    height, width = image.shape[0] - 3, image.shape[1] - 3
    rows = []
    # In strips of a multiple of five rows that stay in the cache.
    for top in range(0, height, 20):
        strip = numpy.zeros((min(20, height - top), width))
        part = numpy.empty_like(strip)
        for i in range(4):
            for j in range(4):
                window = image[top + i : top + i + len(strip), j : j + width]
                numpy.multiply(window, taps[i, j], out=part)
                strip += part
        rows.append(strip[::5, ::5].copy())
    return numpy.concatenate(rows)


def keep(name, value):
    state[name] = value


def convolve_kept(taps):
    return convolve(state["image"], taps)


def image(backend, pool_of, size, filters):
    source = numpy.random.default_rng(1)
    picture = state.setdefault(f"image {size}", source.random((size, size)))
    taps = [source.normal(size=(4, 4)) for _ in range(filters)]
    begun = time.perf_counter()
    if backend == "serial":
        results = [convolve(picture, each) for each in taps]
    elif backend.startswith("mpire"):
        with pool_of(shared_objects=picture) as pool:
            # In tuples, or an array would be taken apart.
            results = pool.map(convolve, [(each,) for each in taps], concatenate_numpy_output=False)
    else:
        with pool_of(keep, ("image", picture)) as pool:
            results = pool.map(convolve_kept, taps)
            pool.close()
            pool.join()
    took = time.perf_counter() - begun
    assert len(results) == filters
    return took


# 2. Documents, whose prefixes each worker counts in its own state.


def document(seed, words):
    source = random.Random(seed)
    letters = "abcdefghijklmnopqrstuvwxyz"
    return ["".join(source.choices(letters, k=3 + i % 6)) for i in range(words)]


def count(counts, words):
    for word in words:
        for end in (1, 2, 3):
            prefix = word[:end]
            counts[prefix] = counts.get(prefix, 0) + 1


def count_into_state(worker_state, *words):
    count(worker_state.setdefault("counts", {}), words)


def give_state(worker_state):
    return worker_state.get("counts", {})


def count_all(documents):
    counts = {}
    for words in documents:
        count(counts, words)
    return counts


def documents(backend, pool_of, number, words):
    # Three long ones for each short one, of a few different ones.
    made = state.setdefault(
        f"documents {words}",
        [document(seed, words if seed % 4 else words // 3) for seed in range(20)],
    )
    all_documents = [made[i % len(made)] for i in range(number)]
    begun = time.perf_counter()
    if backend == "serial":
        results = [count_all(all_documents)]
    elif backend.startswith("mpire"):
        with pool_of(use_worker_state=True) as pool:
            pool.map_unordered(count_into_state, all_documents, worker_exit=give_state)
            pool.stop_and_join()
            results = pool.get_exit_results()
    else:
        # It has no way to ask every worker, so each gets one long task.
        with pool_of() as pool:
            results = pool.map(count_all, [all_documents[i::WORKERS] for i in range(WORKERS)], 1)
            pool.close()
            pool.join()
    took = time.perf_counter() - begun
    total = sum(sum(counts.values()) for counts in results)
    assert total == 3 * sum(map(len, all_documents))
    return took


# 3. A model loaded once by each worker, and rounds of predictions.


def load(path, batch):
    with numpy.load(path) as layers:
        state["model"] = [layers["first"], layers["second"]]
    state["batch"] = numpy.ones((batch, 784))


def predict(_):
    first, second = state["model"]
    return numpy.argmax(numpy.maximum(state["batch"] @ first, 0) @ second, axis=1)


def load_worker(worker_state, path, batch):
    load(path, batch)


def predict_worker(worker_state, item):
    return predict(item)


def model(backend, pool_of, rounds, batch):
    source = numpy.random.default_rng(2)
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "model.npz")
        numpy.savez(path, first=source.random((784, 512)), second=source.random((512, 10)))
        begun = time.perf_counter()
        if backend == "serial":
            load(path, batch)
            for _ in range(rounds):
                results = [predict(i) for i in range(10)]
        elif backend.startswith("mpire"):
            from functools import partial

            init = partial(load_worker, path=path, batch=batch)
            with pool_of(use_worker_state=True, keep_alive=True) as pool:
                for _ in range(rounds):
                    results = pool.map(
                        predict_worker, range(10), worker_init=init, concatenate_numpy_output=False
                    )
        else:
            with pool_of(load, (path, batch)) as pool:
                for _ in range(rounds):
                    results = pool.map(predict, range(10))
                pool.close()
                pool.join()
        took = time.perf_counter() - begun
    assert len(results) == 10 and len(results[0]) == batch
    return took


def run(backend, name, sizes):
    kind, _, method = backend.partition("-")

    def pool_of(*initializer, **settings):
        if kind == "mpire":
            from mpire import WorkerPool

            return WorkerPool(n_jobs=WORKERS, start_method=method, **settings)
        return multiprocessing.get_context(method).Pool(WORKERS, *initializer)

    return {"image": image, "documents": documents, "model": model}[name](backend, pool_of, *sizes)
