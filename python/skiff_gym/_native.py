"""libskiff_gym.so through ctypes: the structs of skiff/env.h and an instance of environments as NumPy columns."""
import ctypes
import os
from ctypes import POINTER, byref, c_char, c_char_p, c_float, c_int, c_size_t, c_uint8, c_uint32, c_uint64, c_void_p

import numpy as np

F32, U8, I32 = 0, 1, 2  # sk_env_dtype
DISCRETE, BOX = 0, 1  # sk_env_action_kind
FIELDS_MAX, DIMS_MAX, NAME_MAX = 16, 4, 64
ERROR_SIZE = 600


class Error(RuntimeError):
    """What skiff says went wrong."""


class Field(ctypes.Structure):
    _fields_ = [("name", c_char * NAME_MAX), ("dtype", c_int), ("n_dims", c_int), ("shape", c_int * DIMS_MAX),
                ("low", c_float), ("high", c_float), ("lows", POINTER(c_float)), ("highs", POINTER(c_float))]


class ActionPart(ctypes.Structure):
    _fields_ = [("name", c_char * NAME_MAX), ("kind", c_int), ("n", c_int), ("start", c_int), ("low", c_float),
                ("high", c_float), ("lows", POINTER(c_float)), ("highs", POINTER(c_float))]


class Spec(ctypes.Structure):
    _fields_ = [("struct_size", c_uint32), ("n_obs", c_int), ("obs", Field * FIELDS_MAX), ("n_action", c_int),
                ("action", ActionPart * FIELDS_MAX), ("mask_size", c_int), ("n_agents", c_int),
                ("max_episode_steps", c_int), ("n_metrics", c_int), ("metric_name", c_char * NAME_MAX * FIELDS_MAX),
                ("reward_low", c_float), ("reward_high", c_float)]


class Step(ctypes.Structure):
    _fields_ = [(name, c_void_p) for name in
                ("action", "obs", "reward", "terminated", "truncated", "mask", "metrics", "final_obs")]


def find_library():
    """$SKIFF_GYM_LIBRARY, beside this file (as installed), or in the source tree's build folder."""
    here = os.path.dirname(os.path.abspath(__file__))
    build = os.path.join(os.path.dirname(os.path.dirname(here)), "build", "python")
    given = os.environ.get("SKIFF_GYM_LIBRARY")
    places = [given] if given else [os.path.join(folder, "libskiff_gym.so") for folder in (here, build)]
    for place in places:
        if os.path.exists(place):
            return place
    raise ImportError(f"libskiff_gym.so is not there: looked for {', '.join(places)}; `meson install`, or `ninja -C "
                      "build` in the source tree, makes it; SKIFF_GYM_LIBRARY names another place")


def open_library():
    path = find_library()
    library = ctypes.CDLL(path)
    texts = POINTER(c_char_p)
    prototypes = {
        "skiff_gym_create": (c_int, [c_char_p, c_char_p, c_int, texts, texts, c_int, c_int, POINTER(c_void_p),
                                     c_char_p, c_size_t]),
        "skiff_gym_destroy": (None, [c_void_p]),
        "skiff_gym_name": (c_char_p, [c_void_p]),
        "skiff_gym_spec": (POINTER(Spec), [c_void_p]),
        "skiff_gym_error": (c_char_p, [c_void_p]),
        "skiff_gym_reset": (c_int, [c_void_p, c_int, POINTER(c_uint64), c_void_p, c_void_p]),
        "skiff_gym_step": (c_int, [c_void_p, POINTER(Step)]),
        "skiff_gym_policy_integers": (c_int, [c_char_p, c_void_p, c_char_p, c_size_t]),
        "skiff_policy_load": (c_int, [c_char_p, POINTER(c_void_p), c_char_p, c_size_t]),
        "skiff_policy_destroy": (None, [POINTER(c_void_p)]),
        "skiff_policy_env_name": (c_char_p, [c_void_p]),
        "skiff_policy_obs_slots": (c_int, [c_void_p]),
        "skiff_policy_action_slots": (c_int, [c_void_p]),
        "skiff_policy_mask_size": (c_int, [c_void_p]),
        "skiff_policy_is_discrete": (c_int, [c_void_p]),
        "skiff_policy_act": (None, [c_void_p, c_void_p, c_void_p, c_int, c_void_p]),
        "skiff_policy_sample": (None, [c_void_p, c_void_p, c_void_p, c_int, c_uint64, ctypes.c_int64, c_uint64,
                                       c_void_p]),
    }
    for name, (result, arguments) in prototypes.items():
        try:
            function = getattr(library, name)
        except AttributeError:
            raise ImportError(f"{path} is of another version than this module: it lacks {name}") from None
        function.restype, function.argtypes = result, arguments
    return library


_library = None


def library():
    """The library, opened at first use."""
    global _library
    if _library is None:
        _library = open_library()
    return _library


def config_text(value):
    """A keyword argument as skiff's config has it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if isinstance(value, str) else repr(value)


def text_array(texts):
    return (c_char_p * max(len(texts), 1))(*[text.encode() for text in texts])


class Instance:
    """Some environments of one kind and their columns. `autoreset`: what ended is reset within the step."""

    def __init__(self, name, plugin, config, max_episode_steps, n_envs, autoreset):
        self.lib, self.handle = library(), c_void_p()
        error = ctypes.create_string_buffer(ERROR_SIZE)
        names, values = text_array(list(config)), text_array([config_text(v) for v in config.values()])
        if self.lib.skiff_gym_create(name.encode(), plugin.encode(), len(config), names, values, max_episode_steps,
                                     n_envs, byref(self.handle), error, ERROR_SIZE):
            raise Error(error.value.decode(errors="replace"))
        self.name, self.n = self.lib.skiff_gym_name(self.handle).decode(), n_envs
        self.spec = self.lib.skiff_gym_spec(self.handle).contents
        self.make_columns(autoreset)

    def make_columns(self, autoreset):
        n, spec = self.n, self.spec
        obs_slots = sum(int(np.prod(f.shape[:f.n_dims])) for f in spec.obs[:spec.n_obs])
        action_slots = sum(1 if p.kind == DISCRETE else p.n for p in spec.action[:spec.n_action])
        self.obs, self.final_obs = (np.zeros((n, obs_slots), np.float32) for _ in range(2))
        self.action = np.zeros((n, action_slots), np.float32)
        self.reward = np.zeros(n, np.float32)
        self.terminated, self.truncated = (np.zeros(n, np.uint8) for _ in range(2))
        self.mask = np.zeros((n, spec.mask_size), np.uint8)
        self.metrics = np.zeros((n, spec.n_metrics), np.float32)
        self.metric_names = [spec.metric_name[i].value.decode() for i in range(spec.n_metrics)]
        columns = {name: getattr(self, name).ctypes.data for name in ("action", "obs", "reward", "terminated",
                                                                      "truncated")}
        columns["mask"] = self.mask.ctypes.data if spec.mask_size else None
        columns["metrics"] = self.metrics.ctypes.data if spec.n_metrics else None
        columns["final_obs"] = self.final_obs.ctypes.data if autoreset else None
        self.columns = Step(**columns)

    def fail(self):
        raise Error(self.lib.skiff_gym_error(self.handle).decode(errors="replace"))

    def reset(self, env, seed):
        mask = self.mask[env:].ctypes.data if self.spec.mask_size else None
        if self.lib.skiff_gym_reset(self.handle, env, None if seed is None else byref(c_uint64(seed)),
                                    self.obs[env:].ctypes.data, mask):
            self.fail()

    def step(self):
        if self.lib.skiff_gym_step(self.handle, byref(self.columns)):
            self.fail()

    def close(self):
        if self.handle:
            self.lib.skiff_gym_destroy(self.handle)
            self.handle = c_void_p()

    def __del__(self):
        if getattr(self, "handle", None):
            self.close()
