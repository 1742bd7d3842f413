"""Ray on the rows of `skiff bench runtime`, one JSON object per row. Run by compare_runtime.py inside its virtual environment.
usage: ray_runtime.py [--seconds S] [--windows N] [--rows a,b,...]

The definitions are those of `ray microbenchmark`: warm-up, then the median over windows. Where Ray would take minutes, less
is asked of it and scaled up; the settings say so."""
import argparse, json, os, statistics, subprocess, sys, time

SETTINGS = dict(num_cpus=2, include_dashboard=False, log_to_driver=False)
FRESH = """
import sys, time, ray
start = time.time()
ray.init(**%r)
ready = time.time()
ray.get(ray.remote(lambda: b"ok").remote())
print("T", ready - start, time.time() - start)
ray.shutdown()
""" % SETTINGS


def emit(row, values, unit, settings):
    values = values if isinstance(values, list) else [values]
    print(json.dumps(dict(peer="ray", row=row, value=statistics.median(values), unit=unit, settings=settings)), flush=True)


class Clock:
    """Batches per second: `warm` s of warm-up, then windows. A batch may return seconds that do not count."""

    def __init__(self, seconds, windows, warm):
        self.seconds, self.windows, self.warm = seconds, windows, warm

    def window(self, batch, seconds):
        start, n, apart = time.perf_counter(), 0, 0.0
        while time.perf_counter() - start < seconds:
            apart += batch() or 0.0
            n += 1
        return n / (time.perf_counter() - start - apart)

    def rates(self, batch, amount=1):
        self.window(batch, self.warm)
        return [amount * self.window(batch, self.seconds) for _ in range(self.windows)]


def pss_kib(pid):
    try:
        with open(f"/proc/{pid}/smaps_rollup") as file:
            return sum(int(line.split()[1]) for line in file if line.startswith("Pss:"))
    except OSError:
        return 0  # it has ended


def ray_processes():
    """This one, and all that descend from it."""
    parent = {}
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/stat") as file:
                parent[int(pid)] = int(file.read().rsplit(")", 1)[1].split()[1])
        except OSError:
            pass
    mine, grown = {os.getpid()}, True
    while grown:
        more = {pid for pid, ppid in parent.items() if ppid in mine} - mine
        grown = bool(more)
        mine |= more
    return mine


def start_rows(wanted, args):
    if not wanted & {"start_ms", "first_task_ms"}:
        return
    runs = []
    for _ in range(args.starts + 1):  # the first has a cold page cache
        out = subprocess.run([sys.executable, "-c", FRESH], capture_output=True, text=True, check=True).stdout
        runs.append([1e3 * float(x) for x in next(l for l in out.splitlines() if l.startswith("T ")).split()[1:]])
    runs = runs[1:] or runs
    if "start_ms" in wanted:
        emit("start_ms", [r[0] for r in runs], "ms", "ray.init() in a new process; without starting Python and importing ray")
    if "first_task_ms" in wanted:
        emit("first_task_ms", [r[1] for r in runs], "ms", "from before ray.init() to the first result, without the same")


def main():
    args = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    args.add_argument("--seconds", type=float, default=2.0), args.add_argument("--windows", type=int, default=3)
    args.add_argument("--starts", type=int, default=3), args.add_argument("--rows")
    args.add_argument("--actors", type=int, default=40), args.add_argument("--queued", type=int, default=20000)
    args = args.parse_args()
    clock = Clock(args.seconds, args.windows, min(1.0, args.seconds))
    all_rows = ("task_sync task_async actor_sync actor_async actor_nn_async put_small get_small put_large_gb wait_1k placement_group "
                "actor_create_process start_ms first_task_ms idle_mb tasks_queued_1m_s").split()
    wanted = set(args.rows.split(",") if args.rows else all_rows)
    start_rows(wanted, args)
    if not wanted - {"start_ms", "first_task_ms"}:
        return

    import numpy as np
    import ray
    from ray.util.placement_group import placement_group, remove_placement_group

    ray.init(**SETTINGS)

    @ray.remote
    def small():
        return b"ok"

    @ray.remote(num_cpus=0)
    class Actor:
        def small(self):
            return b"ok"

    @ray.remote
    def caller(actors, n):
        ray.get([actors[i % len(actors)].small.remote() for i in range(n)])
        return b"ok"

    def rate(row, unit, batch, settings, amount=1):
        if row in wanted:
            emit(row, clock.rates(batch, amount), unit, settings)

    if "idle_mb" in wanted:
        ray.get(small.remote())
        time.sleep(5)
        pids = ray_processes()
        total = sum(pss_kib(pid) for pid in pids) * 1024e-6
        emit("idle_mb", total / len(pids), "MB/process", f"PSS (1e6 bytes): {total:.0f} in {len(pids)} processes, 5 s after init")

    actors = [Actor.remote() for _ in range(2)]
    ray.get([a.small.remote() for a in actors])
    rate("task_sync", "tasks/s", lambda: ray.get(small.remote()) and None, "submit and get, one at a time")
    rate("task_async", "tasks/s", lambda: ray.get([small.remote() for _ in range(1000)]) and None, "1,000 in flight", 1000)
    rate("actor_sync", "calls/s", lambda: ray.get(actors[0].small.remote()) and None, "call and get, one at a time")
    rate("actor_async", "calls/s", lambda: ray.get([actors[0].small.remote() for _ in range(1000)]) and None, "1,000 in flight", 1000)
    rate("actor_nn_async", "calls/s", lambda: ray.get([caller.remote(actors, 1000) for _ in range(4)]) and None,
         "4 tasks make 1,000 calls each to 2 actors", 4000)
    value = ray.put(0)
    rate("put_small", "puts/s", lambda: ray.put(0) and None, "an int")
    rate("get_small", "gets/s", lambda: ray.get(value), "the same int, 0")
    if "put_large_gb" in wanted:
        array = np.ones(100 * 1024 * 1024, dtype=np.int64)
        rate("put_large_gb", "GB/s", lambda: ray.put(array) and None, "800 MiB of int64", array.nbytes * 1e-9)

    def wait_1k():
        left = [small.remote() for _ in range(1000)]
        while left:
            _, left = ray.wait(left, num_returns=1)

    rate("wait_1k", "batches/s", wait_1k, "1,000 tasks, waited for one at a time")

    def groups():
        made = [placement_group([{"CPU": 0.001}]) for _ in range(100)]
        for group in made:
            group.wait(timeout_seconds=30)
        end = time.perf_counter()
        for group in made:
            remove_placement_group(group)
        return time.perf_counter() - end

    rate("placement_group", "groups/s", groups, "100 groups of one bundle of 0.001 CPU, made and waited for", 100)

    if "actor_create_process" in wanted:
        start = time.perf_counter()
        made = [Actor.remote() for _ in range(args.actors)]
        ray.get([a.small.remote() for a in made])
        emit("actor_create_process", len(made) / (time.perf_counter() - start), "actors/s", f"{len(made)} actors, each called once")
        for actor in made:
            ray.kill(actor)
    if "tasks_queued_1m_s" in wanted:
        n, start = args.queued, time.perf_counter()
        ray.get([small.remote() for _ in range(n)])
        emit("tasks_queued_1m_s", (time.perf_counter() - start) * 1e6 / n, "s", f"{n:,} tasks, scaled to 1,000,000")
    ray.shutdown()


if __name__ == "__main__":
    main()
