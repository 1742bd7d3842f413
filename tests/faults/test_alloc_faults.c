/* Memory runs out at every single allocation in turn, and the system refuses every thread, mapping, descriptor and
 * socket: each failure comes back as a status with a text, nothing crashes, leaks or waits for ever. */
#include "algorithms/ppo/ppo.h"
#include "core/base/arena.h"
#include "core/transport/link.h"
#include "nn/cpu/kernels.h"
#include "policies/inference.h"
#include "rl/checkpoint.h"
#include "rl/fragment.h"
#include "rl/replay.h"
#include "rl/runner.h"
#include "rl/runner_arg.h"
#include "rl/vec.h"
#include "tests/faults/faults.h"
#include "tests/rl/rig.h"

#include <errno.h>

static const char tiny_yaml[] =
    "algorithm: ppo\nenv: {name: CartPole-v1, config: {}}\nseed: 1\nmodel: {fcnet_hiddens: [8, 8]}\n"
    "env_runners: {num_env_runners: %d, num_envs_per_env_runner: 2, rollout_fragment_length: 8, placement: %s,\n"
    "  observation_filter: MeanStdFilter, normalize_rewards: true, sample_timeout_s: 60}\n"
    "training: {num_epochs: 1, minibatch_size: 8, use_kl_loss: true}\nlearners: {num_cpus_per_learner: 2}\n"
    "evaluation: {num_episodes: 1, interval_steps: 16}\ncheckpoint: {interval_steps: 16, keep: 1}\n"
    "stop: {training_iteration: 2}\n";

/* ---- the loop over n ---- */

typedef sk_status (*work_fn)(const char *arg, sk_error *err);

static int count_fds(void) {
    int  n = 0;
    DIR *dir = opendir("/proc/self/fd");
    while (dir && readdir(dir)) n++;
    if (dir) closedir(dir);
    return n;
}

/* Do `work` again and again, each time with another call failing, until none does. At least `least` did. */
static void fail_each(fault_kind kind, work_fn work, const char *arg, int least) {
    sk_error err = {0};
    rig_log_watch(); /* silent */
    fault_take_jansson();
    cr_assert_eq(work(arg, &err), SK_OK, "without a fault: %s", err.msg); /* and libraries fill their caches */
    int n_failed = 0, fds = count_fds();
    for (long n = 0;; n++) {
        const char *what = NULL;
        long        live = fault_n_live();
        err = (sk_error){0};
        fault_arm(kind, n);
        sk_status status = work(arg, &err);
        int       hit = fault_disarm(&what);
        cr_assert_eq(fault_n_live(), live, "%s number %ld (%p) failed and %ld blocks leaked (%s)", what ? what : "call", n,
                     fault_caller(), fault_n_live() - live, err.msg);
        cr_assert_eq(count_fds(), fds, "%s number %ld (%p) failed: %d descriptors, before %d", what ? what : "call", n,
                     fault_caller(), count_fds(), fds);
        if (!hit) {
            cr_assert_eq(status, SK_OK, "without a fault: %s", err.msg);
            break;
        }
        if (status == SK_OK) continue; /* it could do without */
        n_failed++;
        cr_assert(err.status == status && err.msg[0], "%s number %ld (%p) failed without a word", what, n, fault_caller());
        /* environments have no statuses, and reading JSON has one for all it refuses */
        int fits = kind == FAULT_SYSTEM || status == SK_ENOMEM || status == SK_EENV ||
                   (status == SK_ECORRUPT && strstr(err.msg, "Out of memory"));
        cr_assert(fits, "%s number %ld (%p): %s, \"%s\"", what, n, fault_caller(), sk_status_text(status), err.msg);
    }
    cr_assert_geq(n_failed, least, "only %d faults came back", n_failed);
}

/* ---- base ---- */

static sk_status make_arena(const char *arg, sk_error *err) {
    (void)arg;
    sk_arena_plan plan = {0};
    sk_arena     *arena = NULL;
    void         *array = NULL;
    sk_arena_plan_add(&plan, &array, 100, 64);
    sk_arena_plan_scratch(&plan, 1000);
    SK_TRY(sk_arena_create(&plan, &arena, err));
    sk_arena_destroy(&arena);
    return SK_OK;
}
Test(alloc_faults, arena) { fail_each(FAULT_MEMORY, make_arena, NULL, 2); }

static sk_status write_and_read_pack(const char *folder, sk_error *err) {
    SK_AUTO(sk_pack_writer) writer = NULL;
    SK_AUTO(sk_pack) pack = NULL;
    const void *bytes;
    char        path[300], name[8] = "s0";
    snprintf(path, sizeof path, "%s/file", folder);
    SK_TRY(sk_pack_writer_create(SK_PACK_POLICY, 1, &writer, err));
    for (int i = 0; i < 10; i++, name[1]++) SK_TRY(sk_pack_writer_add(writer, name, folder, strlen(folder), err));
    SK_TRY(sk_pack_writer_save(writer, path, err));
    SK_TRY(sk_pack_load(path, SK_PACK_POLICY, 1, &pack, err));
    return sk_pack_section(pack, "s9", strlen(folder), &bytes, NULL, err);
}
Test(alloc_faults, pack) {
    char *folder = rig_folder();
    fail_each(FAULT_MEMORY, write_and_read_pack, folder, 20);
    rig_remove(&folder);
}

/* Both ends of a link, and a frame through it. */
static sk_status link_once(const char *arg, sk_error *err) {
    (void)arg;
    sk_cluster_key key;
    SK_TRY(sk_cluster_key_create(&key, err));
    sk_link_params params = {.key = &key, .endpoint = "tcp://127.0.0.1:*", .session = 7};
    sk_link       *head = NULL, *node = NULL;
    sk_link_frame  frame = {.kind = 1, .session = 7, .payload = "hello", .size = 5};
    sk_link_order  order = {0};
    sk_status      status = sk_link_listen(&params, &head, err);
    if (status == SK_OK) {
        params.endpoint = sk_link_endpoint(head);
        status = sk_link_connect(&params, &node, err);
    }
    if (status == SK_OK) status = sk_link_send(node, &frame, &order, err);
    if (status == SK_OK)
        while ((status = sk_link_recv(head, &frame, err)) == SK_ENOTFOUND) sk_link_wait(head, 1000);
    sk_link_destroy(&node, 0);
    sk_link_destroy(&head, 0);
    return status;
}
Test(alloc_faults, links) { fail_each(FAULT_MEMORY, link_once, NULL, 6); }
Test(system_faults, links) { fail_each(FAULT_SYSTEM, link_once, NULL, 30); }

static sk_status resolve_config(const char *yaml, sk_error *err) {
    const char *set[] = {"training.lr=[[0, 1.0e-3], [1000, 0]]"};
    sk_config  *cfg = NULL;
    char       *text = NULL;
    sk_status   status = sk_config_parse(yaml, "test.yaml", set, 1, &cfg, err);
    if (status == SK_OK) status = sk_train_resolve(cfg, &text, err);
    free(text);
    sk_config_destroy(&cfg);
    return status;
}
/* A replay by priority, into a checkpoint and back; "file" or "memory" at the end of `place`, which is in a folder. */
static sk_status replay_once(const char *place, sk_error *err) {
    const char      *path = strstr(place, "/file") ? place : NULL;
    sk_replay_params p = {.capacity = 8, .n_rows = 1, .obs_dim = 2, .action_slots = 1, .n_step = 1, .gamma = 0.9,
                          .max_draw = 4, .prioritized = 1, .alpha = 1.0, .path = path, .env_name = "Faults-v0"};
    sk_batch_shape   shape = {.n_steps = 2, .n_rows = 1, .obs_dim = 2, .action_slots = 1, .n_fragments = 1,
                              .keep_final_obs = 1};
    static _Alignas(64) char block[4096];
    char             saved[320];
    sk_batch         b;
    SK_AUTO(sk_replay) replay = NULL;
    SK_AUTO(sk_pack_writer) writer = NULL;
    SK_AUTO(sk_pack) pack = NULL;
    cr_assert_leq(sk_batch_bytes(&shape), sizeof block);
    cr_assert_neq(access(place, F_OK), 0, "the file was left behind");
    snprintf(saved, sizeof saved, "%s.skiff", place);
    sk_batch_map(&shape, block, &b);
    b.valid[0] = b.valid[1] = b.truncated[0] = 1;
    SK_TRY(sk_replay_create(&p, &replay, err));
    SK_TRY(sk_replay_add(replay, &b, err));
    SK_TRY(sk_pack_writer_create(SK_PACK_CHECKPOINT, 1, &writer, err));
    SK_TRY(sk_replay_save(replay, writer, err));
    SK_TRY(sk_pack_writer_save(writer, saved, err));
    SK_TRY(sk_pack_load(saved, SK_PACK_CHECKPOINT, 1, &pack, err));
    return sk_replay_load(replay, pack, err);
}
static void fail_replay(fault_kind kind, const char *where, int least) {
    char *folder = rig_folder(), place[300];
    snprintf(place, sizeof place, "%s/%s", folder, where);
    fail_each(kind, replay_once, place, least);
    rig_remove(&folder);
}
Test(alloc_faults, replay) { fail_replay(FAULT_MEMORY, "memory", 12); }
Test(alloc_faults, replay_in_a_file) { fail_replay(FAULT_MEMORY, "file", 12); }
Test(system_faults, replay) { fail_replay(FAULT_SYSTEM, "memory", 1); }
Test(system_faults, replay_in_a_file) { fail_replay(FAULT_SYSTEM, "file", 1); }

Test(alloc_faults, config) { fail_each(FAULT_MEMORY, resolve_config, rig_text(tiny_yaml, 1, "thread"), 10); }

/* ---- policies ---- */

static sk_status policy_there_and_back(const char *folder, sk_error *err) {
    SK_AUTO(sk_policy) policy = NULL;
    SK_AUTO(sk_policy) again = NULL;
    SK_AUTO(sk_device) dev = NULL;
    SK_AUTO(sk_inference) inf = NULL;
    char             path[300];
    sk_policy_spaces spaces = {.env_name = "x", .obs_dim = 3, .action_slots = 2, .n_parts = 2, .part_n = {2, 3}};
    sk_model_config  model = {.fcnet_hiddens = {.n = 1, .v = {4}}, .layer_norm = true};
    snprintf(path, sizeof path, "%s/policy.skiff", folder);
    SK_TRY(sk_policy_create(&spaces, &model, SK_FILTER_MEAN_STD, 1, &policy, err));
    SK_TRY(sk_policy_save(policy, path, err));
    SK_TRY(sk_policy_load(folder, &again, err));
    SK_TRY(sk_device_create_cpu(1, &dev, err));
    sk_inference_params how = {.device = dev, .spaces = &spaces, .model = &model, .filter = SK_FILTER_MEAN_STD,
                               .params = sk_policy_params(again), .n_floats = sk_policy_n_floats(again), .max_rows = 4};
    return sk_inference_create(&how, &inf, err);
}
Test(alloc_faults, policy_and_inference) {
    char *folder = rig_folder();
    fail_each(FAULT_MEMORY, policy_there_and_back, folder, 30);
    rig_remove(&folder);
}

/* ---- environments ---- */

static sk_status open_and_reset(const char *text, sk_error *err) {
    SK_AUTO(sk_env) env = NULL;
    SK_AUTO(sk_vec) vec = NULL;
    float   obs[64];
    uint8_t mask[64];
    SK_TRY(sk__env_text_open(text, strlen(text), &env, err));
    sk_vec_params params = {.env = env, .n_envs = 3, .seed = 1};
    SK_TRY(sk_vec_create(&params, &vec, err));
    return sk_vec_reset(vec, obs, mask, err);
}
Test(alloc_faults, environments) {
    static const char *const names[] = {"CartPole-v1", "Pendulum-v1", "Acrobot-v1", "MountainCar-v0", "FrozenLake-v1",
                                        "Taxi-v3", "Blackjack-v1", "CliffWalking-v1"};
    for (int i = 0; i < SK_COUNT(names); i++)
        fail_each(FAULT_MEMORY, open_and_reset,
                  rig_text("{\"name\":\"%s\",\"plugin\":\"\",\"config\":{},\"max_episode_steps\":9}", names[i]), 5);
}
Test(alloc_faults, plugins) {
    fail_each(FAULT_MEMORY, open_and_reset,
              rig_text("{\"name\":\"Scripted-v0\",\"plugin\":\"%s\",\"config\":{\"a\":\"b\"},\"max_episode_steps\":9}",
                       rig_plugin("scripted")), 5);
}

/* ---- runs ---- */

/* The stream of a tiny run: runners, one fragment of experience, their state. */
static sk_status stream_once(const char *yaml, sk_error *err) {
    rig             r = {0};
    const sk_batch *batch = NULL;
    void           *state = NULL;
    size_t          size = 0;
    int             complete = 0;
    sk_status       status = sk_config_parse(yaml, "test.yaml", NULL, 0, &r.cfg, err);
    if (status == SK_OK) status = sk_train_setup_init(&r.setup, r.cfg, err);
    if (status == SK_OK)
        status = sk_policy_create(&r.setup.spaces, &r.setup.config.model, SK_FILTER_MEAN_STD, 1, &r.policy, err);
    if (status == SK_OK) status = rig_runtime(&r.runtime, err);
    sk_stream_params stream = {.runtime = r.runtime, .env = r.setup.env, .config = &r.setup.config, .policy = r.policy,
                               .metrics = &r.metrics, .window = &r.window, .keep_final_obs = 1};
    if (status == SK_OK) status = sk_stream_create(&stream, &r.stream, err);
    if (status == SK_OK) status = sk_source_next(sk_stream_source_of(r.stream), &batch, err);
    if (status == SK_OK) status = sk_stream_save(r.stream, &state, &size, &complete, err);
    if (status == SK_OK) status = sk_stream_load(r.stream, state, size, 8, err);
    free(state);
    rig_close(&r);
    return status;
}
/* A runner as it is on another host, with memory of its own, here in this thread: one fragment of it as bytes. */
static sk_status sample_remote(rig *r, const sk_runner_arg *arg, const char *text, sk_error *err) {
    size_t          size = sk_weights_bytes((size_t)arg->n_floats, arg->shape.obs_dim, 0);
    void           *weights = calloc(1, size);
    sk_actor        actor = {0};
    sk_ref          answer = {0};
    sk_bytes        bytes = {0};
    sk_sample_in    in = {0};
    sk_arg          made_of[] = {sk_by_value(arg, sizeof *arg), sk_by_value(text, strlen(text))};
    sk_arg          called_with[] = {sk_by_value(&in, sizeof in), sk_by_value(weights, size)};
    sk_actor_params params = {.class_name = "runner", .placement = SK_PLACE_INLINE, .args = made_of, .n_args = 2};
    sk_method       sample = {.method = SK_RUNNER_SAMPLE, .args = called_with, .n_args = 2};
    sk_status       status = weights ? SK_OK : SK_FAIL(err, SK_ENOMEM, "no memory for a test's weights");
    if (status == SK_OK) status = sk_actor_create(r->runtime, &params, &actor, err);
    if (status == SK_OK) status = sk_actor_wait(r->runtime, actor, 0, err);
    if (status == SK_OK) status = sk_actor_call(r->runtime, actor, &sample, &answer, err);
    if (status == SK_OK) status = sk_get(r->runtime, answer, 0, &bytes, err);
    if (status == SK_OK) cr_assert_geq(bytes.size, sk_fragment_bytes(&arg->shape, 0));
    sk_release(r->runtime, &answer);
    if (actor.id) sk_actor_join(r->runtime, &actor, 1, 0);
    free(weights);
    return status;
}
static sk_status remote_once(const char *yaml, sk_error *err) {
    rig       r = {0};
    char     *text = NULL;
    sk_status status = sk_config_parse(yaml, "test.yaml", NULL, 0, &r.cfg, err);
    if (status == SK_OK) status = sk_train_setup_init(&r.setup, r.cfg, err);
    if (status == SK_OK)
        status = sk_policy_create(&r.setup.spaces, &r.setup.config.model, SK_FILTER_MEAN_STD, 1, &r.policy, err);
    if (status == SK_OK) status = rig_runtime(&r.runtime, err);
    if (status == SK_OK) status = sk__env_text_encode(&r.setup.config, &text, err);
    if (status == SK_OK) {
        sk_runner_arg arg = {.shape = {.n_steps = 8, .n_rows = 2, .obs_dim = r.setup.spaces.obs_dim, .n_fragments = 1,
                                       .action_slots = r.setup.spaces.action_slots},
                             .spaces = r.setup.spaces, .model = r.setup.config.model, .filter = SK_FILTER_MEAN_STD,
                             .keep_state = 1, .remote = 1, .n_envs = 2, .n_total_envs = 2,
                             .n_floats = (int64_t)sk_policy_n_floats(r.policy)};
        snprintf(arg.isa, sizeof arg.isa, "%s", sk_kernels_get()->level);
        status = sample_remote(&r, &arg, text, err);
    }
    free(text);
    rig_close(&r);
    return status;
}
static const char *plugin_yaml(void) {
    return rig_text("algorithm: ppo\nenv: {plugin: %s, name: Drill-v0}\nmodel: {fcnet_hiddens: [8, 8]}\n"
                    "env_runners: {observation_filter: MeanStdFilter}\nstop: {training_iteration: 2}\n",
                    rig_plugin("drill"));
}
Test(alloc_faults, remote_runner) { fail_each(FAULT_MEMORY, remote_once, plugin_yaml(), 50); }

Test(alloc_faults, inline_runner) { fail_each(FAULT_MEMORY, stream_once, rig_text(tiny_yaml, 0, "thread"), 50); }
Test(alloc_faults, runners_in_threads) { fail_each(FAULT_MEMORY, stream_once, rig_text(tiny_yaml, 2, "thread"), 100); }
Test(alloc_faults, runners_in_processes) { fail_each(FAULT_MEMORY, stream_once, rig_text(tiny_yaml, 2, "process"), 40); }

static const char *run_folder; /* of train_once */

static sk_status train_once(const char *yaml, sk_error *err) {
    sk_config      *cfg = NULL;
    sk_train_result result;
    sk_status       status = sk_config_parse(yaml, "test.yaml", NULL, 0, &cfg, err);
    sk_train_params params = {.cfg = cfg, .run_dir = run_folder};
    if (status == SK_OK) status = sk_train_run(&params, &result, err);
    sk_config_destroy(&cfg);
    return status;
}
/* A resumed run reads everything there is. */
static sk_status resume_once(const char *yaml, sk_error *err) {
    sk_config      *cfg = NULL;
    sk_train_result result;
    sk_status       status = sk_config_parse(yaml, "test.yaml", NULL, 0, &cfg, err);
    sk_train_params params = {.cfg = cfg, .run_dir = run_folder, .resume = 1};
    if (status == SK_OK) status = sk_train_run(&params, &result, err);
    sk_config_destroy(&cfg);
    return status;
}

static void fail_each_run(fault_kind kind, work_fn work, int runners, const char *placement, int least) {
    char       *folder = rig_folder();
    const char *yaml = rig_text(tiny_yaml, runners, placement);
    sk_error    err = {0};
    run_folder = folder;
    cr_assert_eq(train_once(yaml, &err), SK_OK, "%s", err.msg); /* something to resume from */
    fail_each(kind, work, yaml, least);
    rig_remove(&folder);
}
Test(alloc_faults, training_inline) { fail_each_run(FAULT_MEMORY, train_once, 0, "thread", 100); }
Test(alloc_faults, training_with_threads) { fail_each_run(FAULT_MEMORY, train_once, 2, "thread", 150); }
Test(alloc_faults, resuming) { fail_each_run(FAULT_MEMORY, resume_once, 0, "thread", 100); }

/* ---- what the system refuses ---- */

Test(system_faults, inline_runner) { fail_each(FAULT_SYSTEM, stream_once, rig_text(tiny_yaml, 0, "thread"), 2); }
Test(system_faults, runners_in_threads) { fail_each(FAULT_SYSTEM, stream_once, rig_text(tiny_yaml, 2, "thread"), 5); }
Test(system_faults, runners_in_processes) { fail_each(FAULT_SYSTEM, stream_once, rig_text(tiny_yaml, 2, "process"), 5); }
Test(system_faults, training_with_threads) { fail_each_run(FAULT_SYSTEM, train_once, 2, "thread", 5); }
