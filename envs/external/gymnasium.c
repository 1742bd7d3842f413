/* gymnasium: any environment of an installed Gymnasium, as "gymnasium:LunarLander-v3". One Python process
 * per instance (python/skiff_gym/worker.py) steps all its environments; actions, observations and flags
 * lie in memory that both sides map, so that a batch step is one short message there and one back.
 *
 * Config: `id`, what gymnasium.make is asked for (the part of the name behind the colon); `skiff.python`,
 * the interpreter ($SKIFF_PYTHON, else python3); `skiff.timeout_s` (60), patience with one request. All
 * other pairs are keyword arguments of gymnasium.make; numbers, true, false, null and Python literals are
 * understood.
 *
 * Describing needs the process too, so descriptions are remembered for the life of the program, and the
 * process that gave the last one is kept for the instance that most likely comes next.
 * A process that died is started anew by the next reset; its environments then go on from new, derived
 * seeds. */
#include "envs/external/gymnasium.h"
#include "core/base/status.h"
#include "envs/external/gymnasium_spec.h"
#include "envs/external/python_worker.h"
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The requests, as worker.py knows them. */
enum { OP_DESCRIBE = 1, OP_OPEN = 2, OP_RESET = 3, OP_STEP = 4, PROTOCOL = 1 };

/* A description, kept for ever in `descriptions`. */
typedef struct description {
    sk_gymnasium_settings settings;
    char                 *text; /* as Python gave it */
    sk_env_spec           spec;
    float                *bounds; /* the spec points into it */
    struct description   *next;
} description;

static pthread_mutex_t    lock = PTHREAD_MUTEX_INITIALIZER; /* guards the three below */
static description       *descriptions;
static sk_pyworker       *spare; /* has described `spare_of`, and nothing else yet */
static const description *spare_of;

/* Where the columns lie in the shared memory, from its beginning [bytes]. */
typedef struct layout {
    size_t action, obs, reward, terminated, truncated, failed, mask, size;
} layout;

typedef struct gym {
    const description *about;
    sk_pyworker       *worker; /* NULL before the first start */
    unsigned char     *memory; /* of the worker               */
    layout             at;
    int                n;
    size_t             row_bytes;
    int                slots;
    uint32_t           n_starts;
    uint64_t          *seed;  /* (n) the last one given                                        */
    uint8_t           *fresh; /* (n) this process has not started a random stream for it yet   */
    char               error[512];
    char               death[512]; /* how the process before this one ended, where a reset was the first to see it */
} gym;

/* ---- processes and descriptions ---- */

/* Start a process and let it describe its environment, which is made by that. */
static sk_status start_described(const sk_gymnasium_settings *settings, sk_pyworker **ret_worker,
                                 sk_error *reterr) {
    SK_TRY(sk_pyworker_create(settings->python, settings->script, ret_worker, reterr));
    sk_pyworker_call_params call = {.request = {.op = OP_DESCRIBE, .a = PROTOCOL},
                                    .text = settings->request,
                                    .what = "make",
                                    .timeout_s = settings->timeout_s};
    sk_status               status = sk_pyworker_call(*ret_worker, &call, reterr);
    if (status != SK_OK) sk_pyworker_destroy(ret_worker);
    return status;
}

static void description_destroy(description *self) {
    sk_gymnasium_settings_deinit(&self->settings);
    free(self->text);
    free(self->bounds);
    free(self);
}

/* Takes over `settings`, also on failure. Called with the lock held. */
static sk_status describe_anew(sk_gymnasium_settings *settings, const description **ret, sk_error *reterr) {
    sk_pyworker *worker = NULL;
    description *made = calloc(1, sizeof *made);
    if (!made) {
        sk_gymnasium_settings_deinit(settings);
        return SK_FAIL(reterr, SK_ENOMEM, "out of memory for a description");
    }
    made->settings = *settings;
    sk_status status = start_described(&made->settings, &worker, reterr);
    if (status == SK_OK) {
        size_t      size;
        const char *text = sk_pyworker_text(worker, &size);
        made->text = strdup(text);
        if (!made->text) status = SK_FAIL(reterr, SK_ENOMEM, "out of memory for a description");
        else status = sk__gymnasium_spec_parse(text, size, &made->spec, &made->bounds, reterr);
    }
    if (status != SK_OK) {
        sk_pyworker_destroy(&worker);
        description_destroy(made);
        return status;
    }
    made->next = descriptions;
    descriptions = made;
    sk_pyworker_destroy(&spare);
    spare = worker;
    spare_of = made;
    *ret = made;
    return SK_OK;
}

static sk_status find_description(const sk_env_config *config, const description **ret, sk_error *reterr) {
    sk_gymnasium_settings settings;
    SK_TRY(sk_gymnasium_settings_init(&settings, config, reterr));
    sk_status status = SK_OK;
    pthread_mutex_lock(&lock);
    const description *known = descriptions;
    while (known && !sk_gymnasium_settings_same(&known->settings, &settings)) known = known->next;
    if (known) {
        sk_gymnasium_settings_deinit(&settings);
        *ret = known;
    } else {
        status = describe_anew(&settings, ret, reterr);
    }
    pthread_mutex_unlock(&lock);
    return status;
}

/* The process that gave this description, if it waits and lives; else NULL. */
static sk_pyworker *take_spare(const description *about) {
    sk_pyworker *taken = NULL;
    pthread_mutex_lock(&lock);
    if (spare && spare_of == about) {
        taken = spare;
        spare = NULL;
    }
    pthread_mutex_unlock(&lock);
    if (taken && !sk_pyworker_is_alive(taken)) sk_pyworker_destroy(&taken);
    return taken;
}

/* The spare process may close its environment in order when the program ends. */
__attribute__((destructor)) static void stop_spare(void) {
    if (pthread_mutex_trylock(&lock) != 0)
        return; /* a thread is still at work: the kernel ends the process */
    sk_pyworker_destroy(&spare);
    pthread_mutex_unlock(&lock);
}

/* ---- instances ---- */

static size_t place(size_t *end, size_t bytes) {
    size_t at = *end;
    *end += (bytes + 63) / 64 * 64;
    return at;
}

static void lay_out(gym *self) {
    size_t n = (size_t)self->n;
    layout at = {0};
    at.action = place(&at.size, n * (size_t)self->slots * sizeof(sk_env_slot));
    at.obs = place(&at.size, n * self->row_bytes);
    at.reward = place(&at.size, n * sizeof(float));
    at.terminated = place(&at.size, n);
    at.truncated = place(&at.size, n);
    at.failed = place(&at.size, n);
    at.mask = place(&at.size, n * (size_t)self->about->spec.mask_size);
    self->at = at;
}

static sk_status call(gym *self, sk_pyworker_request request, const char *text, const char *what,
                      sk_error *reterr) {
    sk_pyworker_call_params params = {
        .request = request, .text = text, .what = what, .timeout_s = self->about->settings.timeout_s};
    return sk_pyworker_call(self->worker, &params, reterr);
}

/* Let the process make all its environments and map the memory. */
static sk_status open_envs(gym *self, sk_error *reterr) {
    char          text[512];
    void         *memory = NULL;
    const layout *at = &self->at;
    SK_TRY(sk_pyworker_map(self->worker, at->size, &memory, reterr));
    self->memory = memory;
    snprintf(text, sizeof text,
             "{\"n_envs\":%d,\"size\":%zu,\"row_bytes\":%zu,\"slots\":%d,\"action\":%zu,\"obs\":%zu,"
             "\"reward\":%zu,"
             "\"terminated\":%zu,\"truncated\":%zu,\"failed\":%zu,\"mask\":%zu}",
             self->n, at->size, self->row_bytes, self->slots, at->action, at->obs, at->reward, at->terminated,
             at->truncated, at->failed, at->mask);
    return call(self, (sk_pyworker_request){.op = OP_OPEN}, text, "make", reterr);
}

/* A process that has described the environment, as it was described before. */
static sk_status find_worker(gym *self, sk_error *reterr) {
    size_t size;
    self->worker = take_spare(self->about);
    if (self->worker) return SK_OK;
    SK_TRY(start_described(&self->about->settings, &self->worker, reterr));
    if (strcmp(sk_pyworker_text(self->worker, &size), self->about->text) == 0) return SK_OK;
    return SK_FAIL(reterr, SK_EENV, "its spaces differ from those it had when it was made before");
}

static sk_status start(gym *self, sk_error *reterr) {
    sk_pyworker_destroy(&self->worker);
    sk_status status = find_worker(self, reterr);
    if (status == SK_OK) status = open_envs(self, reterr);
    if (status != SK_OK) sk_pyworker_destroy(&self->worker);
    self->n_starts++;
    memset(self->fresh, 1, (size_t)self->n);
    return status;
}

static void destroy(void *self_v) {
    gym *self = self_v;
    if (!self) return;
    sk_pyworker_destroy(&self->worker);
    free(self->seed);
    free(self->fresh);
    free(self);
}

static sk_status make(const sk_env_config *config, int n_envs, gym **ret_self, sk_error *reterr) {
    const description *about;
    SK_TRY(find_description(config, &about, reterr));
    gym *self = calloc(1, sizeof *self);
    if (!self) return SK_FAIL(reterr, SK_ENOMEM, "out of memory for %d environments", n_envs);
    *self = (gym){.about = about,
                  .n = n_envs,
                  .row_bytes = sk__gymnasium_row_bytes(&about->spec),
                  .slots = sk__gymnasium_action_slots(&about->spec)};
    self->seed = calloc((size_t)n_envs, sizeof *self->seed);
    self->fresh = calloc((size_t)n_envs, 1);
    lay_out(self);
    sk_status status = SK_OK;
    if (!self->seed || !self->fresh)
        status = SK_FAIL(reterr, SK_ENOMEM, "out of memory for %d environments", n_envs);
    else status = start(self, reterr);
    if (status != SK_OK) {
        destroy(self);
        return status;
    }
    for (int i = 0; i < n_envs; i++) self->seed[i] = (uint64_t)i;
    *ret_self = self;
    return SK_OK;
}

/* ---- the interface ---- */

static int describe(const sk_env_config *config, sk_env_spec *spec, char *err, size_t err_size) {
    const description *about;
    sk_error           error = {0};
    if (find_description(config, &about, &error) != SK_OK) {
        snprintf(err, err_size, "%s", error.msg);
        return -1;
    }
    uint32_t struct_size = spec->struct_size;
    *spec = about->spec;
    spec->struct_size = struct_size;
    return 0;
}

static int create(const sk_env_config *config, int n_envs, void **ret_self, char *err, size_t err_size) {
    gym     *self = NULL;
    sk_error error = {0};
    if (make(config, n_envs, &self, &error) != SK_OK) {
        snprintf(err, err_size, "%s", error.msg);
        return -1;
    }
    *ret_self = self;
    return 0;
}

static int failed(gym *self, const sk_error *error) {
    snprintf(self->error, sizeof self->error, "%s", error->msg);
    return -1;
}

/* A seed for a random stream that nobody has started, or that died with its process: it differs between
 * environments and starts (the finaliser of SplitMix64). 31 bits: some environments take no more. */
static uint64_t derived_seed(const gym *self, int env) {
    uint64_t z = self->seed[env] + 0x9e3779b97f4a7c15u * (((uint64_t)self->n_starts << 32) + (uint64_t)env);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return (z ^ (z >> 31)) >> 33;
}

/* Asking a dead process for anything says how it ended. */
static void note_death(gym *self) {
    sk_error error = {0};
    if (call(self, (sk_pyworker_request){.op = OP_RESET}, NULL, "reset", &error) != SK_OK)
        snprintf(self->death, sizeof self->death, "%s", error.msg);
}

static int reset(void *self_v, int env, const uint64_t *seed, void *obs, uint8_t *mask) {
    gym     *self = self_v;
    sk_error error = {0};
    size_t   mask_size = (size_t)self->about->spec.mask_size;
    if (self->worker && !sk_pyworker_is_alive(self->worker) && !self->fresh[env]) note_death(self);
    if (!self->worker || !sk_pyworker_is_alive(self->worker)) {
        if (start(self, &error) != SK_OK) return failed(self, &error);
    }
    if (seed) self->seed[env] = *seed;
    sk_pyworker_request request = {.op = OP_RESET,
                                   .a = (uint32_t)env,
                                   .flag = seed || self->fresh[env],
                                   .seed = seed ? *seed : derived_seed(self, env)};
    if (call(self, request, NULL, "reset", &error) != SK_OK) return failed(self, &error);
    self->fresh[env] = 0;
    memcpy(obs, self->memory + self->at.obs + (size_t)env * self->row_bytes, self->row_bytes);
    if (mask) memcpy(mask, self->memory + self->at.mask + (size_t)env * mask_size, mask_size);
    return 0;
}

static int step(void *self_v, int first, int count, const sk_env_io *io) {
    gym          *self = self_v;
    sk_error      error = {0};
    const layout *at = &self->at;
    size_t        from = (size_t)first, n = (size_t)count, mask_size = (size_t)self->about->spec.mask_size;
    size_t        action_bytes = (size_t)self->slots * sizeof(sk_env_slot);
    if (!self->worker) {
        snprintf(self->error, sizeof self->error, "step: there is no Python process; reset starts one");
        return -1;
    }
    if (memchr(self->fresh + from, 1, n)) { /* their episodes ended with the process before */
        snprintf(self->error, sizeof self->error, "%s", *self->death ? self->death : "step: it was not reset");
        return -1;
    }
    memcpy(self->memory + at->action + from * action_bytes, io->action, n * action_bytes);
    sk_pyworker_request request = {.op = OP_STEP, .a = (uint32_t)first, .b = (uint32_t)count};
    if (call(self, request, NULL, "step", &error) != SK_OK) return failed(self, &error);

    memcpy(io->obs, self->memory + at->obs + from * self->row_bytes, n * self->row_bytes);
    memcpy(io->reward, self->memory + at->reward + from * sizeof(float), n * sizeof(float));
    memcpy(io->terminated, self->memory + at->terminated + from, n);
    memcpy(io->truncated, self->memory + at->truncated + from, n);
    if (mask_size) memcpy(io->mask, self->memory + at->mask + from * mask_size, n * mask_size);
    size_t      text_size;
    const char *text = sk_pyworker_text(self->worker, &text_size);
    if (text_size == 0) return 0;
    memcpy(io->failed, self->memory + at->failed + from, n); /* the text says why */
    snprintf(self->error, sizeof self->error, "%s", text);
    return 0;
}

static const char *last_error(void *self_v) { return ((gym *)self_v)->error; }

const sk_env_api sk_env_gymnasium = {
    .abi_version = SK_ENV_ABI_VERSION,
    .struct_size = sizeof(sk_env_api),
    .name = "gymnasium",
    .caps = SK_ENV_CAP_DETERMINISTIC, /* what Gymnasium asks of its environments; `skiff check-env` looks */
    .describe = describe,
    .create = create,
    .destroy = destroy,
    .reset = reset,
    .step = step,
    .last_error = last_error,
};
