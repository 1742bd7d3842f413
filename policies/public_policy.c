/* public_policy: include/skiff/policy.h over sk_policy and sk_inference. Batches go through in pieces of PIECE_ROWS. */
#include "skiff/policy.h"

#include "policies/inference.h"
#include "policies/policy.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PIECE_ROWS = 64 };

struct skiff_policy {
    sk_policy              *policy;
    const sk_policy_spaces *spaces; /* of policy                                   */
    sk_device              *device;
    sk_inference           *inference;
    float                  *mask;   /* (PIECE_ROWS x K) as the network takes it    */
};

static sk_status use_normalizer(skiff_policy *self, sk_error *reterr) {
    size_t n = (size_t)sk_policy_normalizer_const(self->policy)->n;
    float *constants = calloc(n * 2, sizeof *constants);
    if (!constants) return SK_FAIL(reterr, SK_ENOMEM, "policy: no memory");
    sk_normalizer_constants(sk_policy_normalizer_const(self->policy), constants, constants + n);
    sk_inference_set_normalizer(self->inference, constants, constants + n);
    free(constants);
    return SK_OK;
}

static sk_status open_policy(skiff_policy *self, const char *path, sk_error *reterr) {
    SK_TRY(sk_policy_load(path, &self->policy, reterr));
    self->spaces = sk_policy_spaces_get(self->policy);
    SK_TRY(sk_device_create_cpu(1, &self->device, reterr));
    sk_inference_params how = {.device = self->device,
                               .spaces = self->spaces,
                               .model = sk_policy_model(self->policy),
                               .filter = sk_policy_filter(self->policy),
                               .params = sk_policy_params(self->policy),
                               .n_floats = sk_policy_n_floats(self->policy),
                               .max_rows = PIECE_ROWS};
    SK_TRY(sk_inference_create(&how, &self->inference, reterr));
    self->mask = calloc((size_t)self->spaces->mask_size * PIECE_ROWS + 1, sizeof *self->mask);
    if (!self->mask) return SK_FAIL(reterr, SK_ENOMEM, "policy: no memory for masks");
    return use_normalizer(self, reterr);
}

int skiff_policy_load(const char *path, skiff_policy **ret_policy, char *err, size_t err_size) {
    SK_ASSERT(path && ret_policy && (err || err_size == 0));
    sk_error      why = {0};
    skiff_policy *self = calloc(1, sizeof *self);
    sk_status     status = self ? open_policy(self, path, &why) : SK_FAIL(&why, SK_ENOMEM, "policy: no memory");
    if (status == SK_OK) {
        *ret_policy = self;
        return 0;
    }
    if (err_size > 0) snprintf(err, err_size, "%s", why.msg);
    skiff_policy_destroy(&self);
    return (int)status;
}

void skiff_policy_destroy(skiff_policy **policy_p) {
    if (!policy_p || !*policy_p) return;
    sk_inference_destroy(&(*policy_p)->inference);
    sk_device_destroy(&(*policy_p)->device);
    sk_policy_destroy(&(*policy_p)->policy);
    free((*policy_p)->mask);
    free(*policy_p);
    *policy_p = NULL;
}

const char *skiff_policy_env_name(const skiff_policy *policy) { return policy->spaces->env_name; }
int         skiff_policy_obs_slots(const skiff_policy *policy) { return policy->spaces->obs_dim; }
int         skiff_policy_action_slots(const skiff_policy *policy) { return policy->spaces->action_slots; }
int         skiff_policy_mask_size(const skiff_policy *policy) { return policy->spaces->mask_size; }
int         skiff_policy_is_discrete(const skiff_policy *policy) { return policy->spaces->n_parts > 0; }

int skiff_policy_n_choices(const skiff_policy *policy, int slot) {
    SK_ASSERT(slot >= 0 && slot < policy->spaces->action_slots);
    return slot < policy->spaces->n_parts ? policy->spaces->part_n[slot] : 0;
}
int skiff_policy_first_choice(const skiff_policy *policy, int slot) {
    SK_ASSERT(slot >= 0 && slot < policy->spaces->action_slots);
    return slot < policy->spaces->n_parts ? policy->spaces->part_start[slot] : 0;
}

/* Act on at most PIECE_ROWS rows; `io` says how, the rest is filled in. mask may be NULL. */
static void act_on_piece(skiff_policy *self, sk_inference_io io, const uint8_t *mask) {
    const sk_policy_spaces *s = self->spaces;
    for (int i = 0; i < io.rows * s->mask_size; i++) self->mask[i] = mask ? (float)mask[i] : 1.0f;
    io.mask = s->mask_size > 0 ? self->mask : NULL;
    sk_inference_act(self->inference, &io);
    sk_policy_to_env(s, sk_policy_model(self->policy), io.action, io.rows, io.action);
}

/* `io` without rows and columns; its first_row is that of row 0. */
static void act_on_all(skiff_policy *self, const sk_inference_io *io, const void *obs, const uint8_t *mask, int n_rows,
                       skiff_action_slot *action) {
    _Static_assert(sizeof(skiff_action_slot) == sizeof(sk_env_slot), "one action, two names");
    const sk_policy_spaces *s = self->spaces;
    for (ptrdiff_t at = 0; at < n_rows; at += PIECE_ROWS) {
        sk_inference_io piece = *io;
        piece.rows = n_rows - at < PIECE_ROWS ? (int)(n_rows - at) : PIECE_ROWS;
        piece.first_row = io->first_row + at;
        piece.obs = (const float *)obs + at * s->obs_dim;
        piece.action = (sk_env_slot *)(void *)(action + at * s->action_slots);
        act_on_piece(self, piece, mask ? mask + at * s->mask_size : NULL);
    }
}

void skiff_policy_act(skiff_policy *policy, const void *obs, const uint8_t *mask, int n_rows,
                      skiff_action_slot *action) {
    act_on_all(policy, &(sk_inference_io){.deterministic = 1}, obs, mask, n_rows, action);
}

void skiff_policy_sample(skiff_policy *policy, const void *obs, const uint8_t *mask, int n_rows, uint64_t seed,
                         int64_t first_row, uint64_t counter, skiff_action_slot *action) {
    sk_inference_io io = {.seed = seed, .first_row = first_row, .counter = counter, .sde_counter = counter};
    act_on_all(policy, &io, obs, mask, n_rows, action);
}

void skiff_policy_value(skiff_policy *policy, const void *obs, int n_rows, float *value) {
    sk_inference_value(policy->inference, obs, n_rows, value);
}
