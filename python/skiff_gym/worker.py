"""Steps Gymnasium environments for skiff, which starts this script by itself (envs/external/gymnasium.c).

Descriptors, open from the start: 3 a socket with requests and replies, 4 a pipe that ends when skiff does, 5 a memory
file with the columns of a step. Needs the standard library, NumPy and Gymnasium; this file stands alone.

A request is op, a, b, flag (u32), seed, n_text (u64), then n_text bytes; a reply is status (0 = done) and n_text (u32),
then n_text bytes of UTF-8. Ops: describe (text: id and keyword arguments), open (text: where the columns lie), reset
(a: env, flag: with the seed), step (a: first env, b: count). The end of the requests means: close and leave.
"""
import ast
import fcntl
import importlib
import json
import math
import mmap
import os
import select
import signal
import struct
import sys
import traceback

CONTROL_FD, LIFE_FD, MEMORY_FD = 3, 4, 5
REQUEST, REPLY = struct.Struct("=IIIIQQ"), struct.Struct("=II")
DESCRIBE, OPEN, RESET, STEP = 1, 2, 3, 4
PROTOCOL = 1
F_SETSIG = 10  # <fcntl.h>; the fcntl module does not name it
FIELDS_MAX, DIMS_MAX = 16, 4  # skiff/env.h
STORY_MAX = 420  # bytes of an exception that fit into skiff's messages
FULL_TRACEBACKS = 3  # printed in full on stderr; further ones only shortly, in the message

np = gymnasium = None  # imported when asked, so that their absence can be told


class Refused(Exception):
    """Told to the user by its text alone."""


def die_with_skiff():
    """The kernel kills this process when the other side of the pipe is closed, whatever this process is doing then."""
    fcntl.fcntl(LIFE_FD, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(LIFE_FD, F_SETSIG, signal.SIGKILL)
    fcntl.fcntl(LIFE_FD, fcntl.F_SETFL, fcntl.fcntl(LIFE_FD, fcntl.F_GETFL) | os.O_ASYNC)
    gone = select.poll()
    gone.register(LIFE_FD, 0)
    if gone.poll(0):  # it was closed before that
        os._exit(1)


# ---- exceptions, shortly ----
def story_of(error):
    """The exception and the last lines of its traceback, innermost first, on one line."""
    frames = [f for f in traceback.extract_tb(error.__traceback__) if f.filename[:1] != "<" and f.filename != __file__]
    package = os.path.dirname(gymnasium.__file__) if gymnasium else "<"
    frames = [f for f in frames if not f.filename.startswith(package)] or frames  # its wrappers only pass things on
    text = "".join(traceback.format_exception_only(type(error), error)).strip()
    for frame in frames[:-4:-1]:
        text += f' | File "{frame.filename}", line {frame.lineno}, in {frame.name}: {frame.line}'
    text = " ".join(text.split()).encode("utf-8", "replace")
    return (text if len(text) <= STORY_MAX else text[:STORY_MAX - 3] + b"...").decode("utf-8", "ignore")


# ---- spaces ----
class Leaf:
    """A space that is no Dict or Tuple, and the way to it."""

    def __init__(self, space, path, name):
        self.space, self.path, self.name = space, path, name

    def find(self, value):
        for key in self.path:
            value = value[key]
        return value


def leaves_of(space, root, path=()):
    spaces = gymnasium.spaces
    if isinstance(space, spaces.Dict):
        pairs = list(space.spaces.items())
    elif isinstance(space, spaces.Tuple):
        pairs = list(enumerate(space.spaces))
    else:
        prefix = () if path and isinstance(path[0], str) else (root,)  # a Dict's keys are names, a Tuple's places not
        return [Leaf(space, path, ".".join(map(str, prefix + path)))]
    return [leaf for key, inner in pairs for leaf in leaves_of(inner, root, path + (key,))]


def bounds_text(bounds, shape):
    """Bytes of float32 in hexadecimal: one number if all are the same."""
    with np.errstate(over="ignore"):
        each = np.broadcast_to(np.asarray(bounds), shape).astype(np.float32).ravel()
    return (each[:1] if each.size and (each == each[0]).all() else each).tobytes().hex()


def described(name, dtype, low, high, shape):
    if len(shape) > DIMS_MAX:
        raise Refused(f'observation "{name}" has {len(shape)} dimensions, wanted at most {DIMS_MAX}')
    return {"name": name, "dtype": dtype, "shape": list(shape), "low": bounds_text(low, shape),
            "high": bounds_text(high, shape)}


def describe_obs(leaf):
    spaces, space, name = gymnasium.spaces, leaf.space, leaf.name
    if isinstance(space, spaces.Box) and space.dtype in (np.float32, np.float64):
        return described(name, "f32", space.low, space.high, space.shape)
    if isinstance(space, spaces.Box) and space.dtype == np.uint8:
        return described(name, "u8", space.low, space.high, space.shape)
    if isinstance(space, spaces.Discrete):
        return described(name, "i32", space.start, space.start + space.n - 1, ())
    if isinstance(space, spaces.MultiDiscrete):
        return described(name, "i32", space.start, space.start + space.nvec - 1, space.nvec.shape)
    if isinstance(space, spaces.MultiBinary):
        return described(name, "i32", 0, 1, space.shape)
    raise Refused(f'observation "{name}": found {space}, wanted Box of float32, float64 or uint8, Discrete, '
                  "MultiDiscrete, MultiBinary, or a Dict or Tuple of these")


def describe_action(leaf):
    """The parts of one leaf: one, or one per element of MultiDiscrete and MultiBinary."""
    spaces, space, name = gymnasium.spaces, leaf.space, leaf.name
    if isinstance(space, spaces.Discrete):
        return [{"name": name, "kind": "discrete", "n": int(space.n), "start": int(space.start)}]
    if isinstance(space, spaces.MultiDiscrete):
        choices, starts = space.nvec.ravel(), np.broadcast_to(space.start, space.nvec.shape).ravel()
    elif isinstance(space, spaces.MultiBinary):
        choices = np.full(int(np.prod(space.shape)), 2)
        starts = np.zeros_like(choices)
    elif isinstance(space, spaces.Box) and space.dtype in (np.float32, np.float64):
        return [{"name": name, "kind": "box", "n": math.prod(space.shape), "low": bounds_text(space.low, space.shape),
                 "high": bounds_text(space.high, space.shape)}]
    else:
        raise Refused(f'action "{name}": found {space}, wanted Discrete, MultiDiscrete, MultiBinary, Box of float32 or '
                      "float64, or Dict or Tuple of these")
    return [{"name": f"{name}[{i}]", "kind": "discrete", "n": int(n), "start": int(start)}
            for i, (n, start) in enumerate(zip(choices, starts))]


def check_count(what, n):
    if n > FIELDS_MAX:
        raise Refused(f"{what}: found {n} parts, wanted at most {FIELDS_MAX}")


# ---- columns ----
class ObsColumn:
    """One leaf of the observations of all environments, as a view into the shared rows."""

    def __init__(self, leaf, memory, base, offset, row_bytes, n_envs):
        box = isinstance(leaf.space, gymnasium.spaces.Box)
        self.leaf, self.shape = leaf, leaf.space.shape or ()
        dtype = np.dtype(np.int32 if not box else np.uint8 if leaf.space.dtype == np.uint8 else np.float32)
        inner = np.empty(self.shape, dtype).strides
        self.view = np.ndarray((n_envs,) + self.shape, dtype, memory, base + offset, (row_bytes,) + inner)
        self.n_bytes = dtype.itemsize * math.prod(self.shape)

    def put(self, env, obs):
        value = self.leaf.find(obs) if self.leaf.path else obs
        if np.shape(value) != self.shape: # NumPy would stretch it silently
            raise ValueError(f'observation "{self.leaf.name}" has shape {np.shape(value)}, its space says {self.shape}')
        self.view[env] = value


def build_reader(leaf, ints, floats, slot):
    """(how many slots the leaf has, a function that makes its actions from some rows of the shared slots)."""
    spaces, space = gymnasium.spaces, leaf.space
    dtype, shape = space.dtype, space.shape
    if isinstance(space, spaces.Discrete):
        return 1, lambda rows: ints[rows, slot].astype(dtype)
    n = math.prod(shape)
    slots = ints if isinstance(space, (spaces.MultiDiscrete, spaces.MultiBinary)) else floats
    return n, lambda rows: slots[rows, slot:slot + n].astype(dtype).reshape((-1,) + shape)


def assemble(space, values, path=()):
    """The action of a whole space from those of its leaves, by path."""
    if isinstance(space, gymnasium.spaces.Dict):
        return {key: assemble(inner, values, path + (key,)) for key, inner in space.spaces.items()}
    if isinstance(space, gymnasium.spaces.Tuple):
        return tuple(assemble(inner, values, path + (i,)) for i, inner in enumerate(space.spaces))
    return values[path]


# ---- the environments ----
def keyword(text):
    """A config value: JSON, else a Python literal, else the text itself."""
    for parse in (json.loads, ast.literal_eval):
        try:
            return parse(text)
        except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
            pass
    return text


class Worker:
    def __init__(self):
        self.envs = []
        self.n_told = 0

    def describe(self, request):
        """Make the first environment and tell its spaces."""
        order = json.loads(request)
        self.kwargs = {name: keyword(text) for name, text in order["kwargs"].items()}
        limit = self.kwargs.pop("max_episode_steps", None)
        module, _, self.id = order["id"].rpartition(":")
        if module:
            importlib.import_module(module)  # it registers its environments
        try:
            spec = gymnasium.spec(self.id)
        except gymnasium.error.Error as error:
            raise Refused(f'Gymnasium {gymnasium.__version__} has no environment "{self.id}": {error}') from None
        if limit is None:
            limit = spec.max_episode_steps
        env = self.make()
        self.obs_leaves = leaves_of(env.observation_space, "obs")
        self.action_space = env.action_space
        self.action_leaves = leaves_of(env.action_space, "action")
        check_count("observation space", len(self.obs_leaves))
        obs = [describe_obs(leaf) for leaf in self.obs_leaves]
        action = [part for leaf in self.action_leaves for part in describe_action(leaf)]
        check_count("action space", len(action))
        self.mask_size = self.find_mask_size(env, action)
        return json.dumps({"max_episode_steps": int(limit) if limit and limit > 0 else 0,
                           "mask_size": self.mask_size, "obs": obs, "action": action})

    def make(self):
        """Without TimeLimit: skiff itself counts steps."""
        try:
            env = gymnasium.make(self.id, max_episode_steps=-1, disable_env_checker=True, **self.kwargs)
        except gymnasium.error.DependencyNotInstalled as error:
            raise Refused(f"{self.id} needs more to be installed for {sys.executable}: {error}") from None
        self.envs.append(env)
        return env

    def find_mask_size(self, env, action):
        """Number of choices if the environment tells a mask of them, else 0."""
        choices = sum(part["n"] for part in action if part["kind"] == "discrete")
        if choices == 0:
            return 0
        _, info = env.reset(seed=0)
        mask = info.get("action_mask")
        return choices if mask is not None and np.size(mask) == choices else 0

    def open(self, request):
        at = json.loads(request)
        n = at["n_envs"]
        memory = mmap.mmap(MEMORY_FD, at["size"])
        while len(self.envs) < n:
            self.make()
        slots = (n, at["slots"])
        self.ints = np.ndarray(slots, np.int32, memory, at["action"])
        floats = np.ndarray(slots, np.float32, memory, at["action"])
        self.reward = np.ndarray(n, np.float32, memory, at["reward"])
        self.terminated, self.truncated, self.failed = (
            np.ndarray(n, np.uint8, memory, at[name]) for name in ("terminated", "truncated", "failed"))
        self.mask = np.ndarray((n, self.mask_size), np.uint8, memory, at["mask"]) if self.mask_size else None
        self.rows = np.ndarray((n, at["row_bytes"]), np.uint8, memory, at["obs"])
        self.columns, offset = [], 0
        for leaf in self.obs_leaves:
            self.columns.append(ObsColumn(leaf, memory, at["obs"], offset, at["row_bytes"], n))
            offset += self.columns[-1].n_bytes
        self.readers, slot = [], 0
        for leaf in self.action_leaves:
            width, read = build_reader(leaf, self.ints, floats, slot)
            self.readers.append((leaf.path, read))
            slot += width
        assert (offset, slot) == (at["row_bytes"], at["slots"]), "the two sides count slots differently"
        return ""

    def actions(self, rows):
        """One action for each environment of a slice, in arrays of their own that an environment may keep."""
        columns = [(path, read(rows)) for path, read in self.readers]
        if len(columns) == 1 and not columns[0][0]:
            return columns[0][1]
        return [assemble(self.action_space, {path: column[i] for path, column in columns})
                for i in range(rows.stop - rows.start)]

    def put(self, i, obs, info):
        for column in self.columns:
            column.put(i, obs)
        if self.mask is not None:
            mask = info.get("action_mask")
            self.mask[i] = 1 if mask is None else np.asarray(mask).ravel() != 0

    def reset(self, i, seed):
        obs, info = self.envs[i].reset(seed=seed) if seed is not None else self.envs[i].reset()
        self.put(i, obs, info)
        return ""

    def step(self, first, count):
        """All environments of the range; one that raises is marked as failed and does not disturb the others."""
        text, n_failed = "", 0
        rows = slice(first, first + count)
        self.failed[rows] = 0
        for i, action in enumerate(self.actions(rows), first):
            try:
                obs, self.reward[i], self.terminated[i], self.truncated[i], info = self.envs[i].step(action)
                self.put(i, obs, info)
            except (Exception, SystemExit) as error:
                self.failed[i] = 1
                self.reward[i] = self.terminated[i] = self.truncated[i] = 0
                self.rows[i] = 0
                text, n_failed = text or self.tell(error), n_failed + 1
        return text if n_failed < 2 else f"{n_failed} environments failed, the first of them: {text}"

    def tell(self, error):
        """The exception on one line; the first few also in full on stderr."""
        if isinstance(error, Refused):
            return str(error)
        self.n_told += 1
        if self.n_told <= FULL_TRACEBACKS:
            traceback.print_exception(type(error), error, error.__traceback__)
        return story_of(error)

    def answer(self, op, a, b, flag, seed, text):
        if op == STEP:
            return self.step(a, b)
        if op == RESET:
            return self.reset(a, seed if flag else None)
        if op == OPEN:
            return self.open(text)
        if a != PROTOCOL:
            raise Refused(f"{__file__} speaks protocol {PROTOCOL}, this skiff {a}: they are of different versions")
        import_all()
        return self.describe(text)

    def close(self):
        for env in self.envs:
            try:
                env.close()
            except (Exception, SystemExit):
                traceback.print_exc()


def import_all():
    """NumPy and Gymnasium, with a way out where they are missing."""
    global np, gymnasium
    try:
        import numpy
        import gymnasium as found
    except ImportError as error:
        missing = error.name if error.name in ("numpy", "gymnasium") else None
        if not missing:
            raise
        version = ".".join(map(str, sys.version_info[:3]))
        raise Refused(f"{sys.executable} (Python {version}) has no module {missing}; "
                      f'"{sys.executable} -m pip install gymnasium" installs it, or env.python names another '
                      "interpreter") from None
    if int(found.__version__.split(".")[0]) < 1:
        raise Refused(f"{sys.executable} has Gymnasium {found.__version__}, wanted 1.0 or newer; "
                      f'"{sys.executable} -m pip install -U gymnasium"')
    np, gymnasium = numpy, found


def read_exactly(n):
    """n bytes of the socket, or None at its end."""
    data = os.read(CONTROL_FD, n)
    while data and len(data) < n:
        more = os.read(CONTROL_FD, n - len(data))
        if not more:
            return None
        data += more
    return data or None


def write_all(data):
    while data:
        data = data[os.write(CONTROL_FD, data):]


def serve(worker):
    while True:
        head = read_exactly(REQUEST.size)
        if head is None:
            return
        *request, n_text = REQUEST.unpack(head)
        text = read_exactly(n_text) if n_text else b""
        status = 0
        try:
            reply = worker.answer(*request, text)
        except (Exception, SystemExit) as error:
            status, reply = 1, worker.tell(error)
        reply = reply.encode("utf-8", "replace")
        write_all(REPLY.pack(status, len(reply)) + reply)


def main():
    for fd in (CONTROL_FD, LIFE_FD, MEMORY_FD):
        os.set_inheritable(fd, False)
    die_with_skiff()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is skiff's to answer
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])
    if sys.path and sys.path[0] == os.path.dirname(os.path.abspath(__file__)):
        sys.path[0] = os.getcwd()  # "my_module:MyEnv-v0" is looked for where skiff was started
    worker = Worker()
    try:
        serve(worker)
    except (BrokenPipeError, ConnectionResetError):
        pass  # skiff does not listen any more
    worker.close()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)  # nothing of Python's own tidying matters now, and threads of an environment could hold it up


if __name__ == "__main__":
    main()
