/* policy: everything it takes to act: spaces, network, parameters and the observation normaliser, in memory and in
 * one versioned, checksummed, code-free file (kind SK_PACK_POLICY; docs/formats.md).
 *
 * Parameters are one contiguous float buffer (64-byte aligned, rows padded as nn/graph.h says); a version number goes
 * up with every training iteration.
 * Shapes: O obs_dim, S action_slots, K mask_size.
 * Threads: one owner; const functions may be shared. */
#ifndef SK_POLICIES_POLICY_H
#define SK_POLICIES_POLICY_H
#include "core/base/pack.h"
#include "core/base/status.h"
#include "nn/graph.h"
#include "policies/exploration.h"
#include "policies/model.h"
#include "policies/normalizer.h"
#include "skiff/env.h"
#include <stdint.h>

enum { SK_POLICY_FILE_VERSION = 2, SK_POLICY_PARTS_MAX = SK_ENV_FIELDS_MAX, SK_POLICY_RUNS_MAX = 64,
       SK_POLICY_BOX_MAX = 64 };

/* The spaces a policy was made for, without pointers. An observation row is O slots of 4 bytes; the network reads
 * integers as one-hot columns, floats as they are (or normalised). */
typedef struct sk_policy_spaces {
    char env_name[SK_ENV_NAME_MAX];
    int  obs_dim;
    int  n_runs;                              /* 0 = floats only                          */
    sk_encode_run runs[SK_POLICY_RUNS_MAX];   /* slots of a row, in order, all of them    */
    int  action_slots;
    int  mask_size;                       /* 0 or the sum of part_n                       */
    int  n_parts;                         /* discrete parts; 0 = box actions              */
    int  part_n[SK_POLICY_PARTS_MAX];     /* choices                                      */
    int  part_start[SK_POLICY_PARTS_MAX]; /* the environment's number of choice 0         */
    float box_low[SK_POLICY_BOX_MAX];     /* bounds of box actions, as far as there is room: what [-1, 1] is scaled to */
    float box_high[SK_POLICY_BOX_MAX];
} sk_policy_spaces;

typedef struct sk_policy sk_policy;

/* Spaces of an environment. SK_EUNSUPPORTED: discrete and box parts mixed in one action, or integers of more
 * different ranges than SK_POLICY_RUNS_MAX, or of too many choices together. */
SK_NODISCARD sk_status sk_policy_spaces_of(const sk_env_spec *spec, const char *env_name, sk_policy_spaces *ret_spaces,
                                           sk_error *reterr);
/* SK_EINVAL names the first difference. */
SK_NODISCARD sk_status sk_policy_spaces_same(const sk_policy_spaces *policy, const sk_policy_spaces *env,
                                             sk_error *reterr);

/* Are the network's box actions in [-1, 1], to be scaled to the environment's bounds? */
int sk_policy_scales_actions(const sk_policy_spaces *spaces, const sk_model_config *model);
/* Actions as the network has them -> as the environment takes them (rows x action_slots): discrete choices get their
 * `start`, squashed ones go through tanh, those in [-1, 1] are scaled to the bounds, others stay. In place is fine. */
void sk_policy_to_env(const sk_policy_spaces *spaces, const sk_model_config *model, const sk_env_slot *action, int rows,
                      sk_env_slot *ret_action);

/* A policy with fresh parameters (policies/net.h). SK_EUNSUPPORTED: the model needs bounded actions and they have none,
 * or more than SK_POLICY_BOX_MAX; or it has action values, and there is not one discrete action. Caller destroys. */
SK_NODISCARD sk_status sk_policy_create(const sk_policy_spaces *spaces, const sk_model_config *model,
                                        sk_obs_filter filter, uint64_t seed, sk_policy **ret_policy, sk_error *reterr);
void sk_policy_destroy(sk_policy **self_p);

const sk_policy_spaces *sk_policy_spaces_get(const sk_policy *self);
const sk_model_config  *sk_policy_model(const sk_policy *self);
sk_obs_filter           sk_policy_filter(const sk_policy *self);
float  *sk_policy_params(sk_policy *self);              /* (n_floats), borrowed until destroy */
const float *sk_policy_params_const(const sk_policy *self);
size_t  sk_policy_n_floats(const sk_policy *self);      /* padding included                   */
size_t  sk_policy_n_params(const sk_policy *self);      /* trained numbers, padding excluded  */
sk_normalizer *sk_policy_normalizer(sk_policy *self);   /* (O); used if filter is MEAN_STD    */
const sk_normalizer *sk_policy_normalizer_const(const sk_policy *self);
/* Same layers, activations, filter and places of all parameters? */
int     sk_policy_same_network(const sk_policy *a, const sk_policy *b);
/* How runners are to explore with it; an algorithm sets it before it asks for experience. Not part of files. */
sk_exploration *sk_policy_exploration(sk_policy *self);
int64_t sk_policy_version(const sk_policy *self);
void    sk_policy_set_version(sk_policy *self, int64_t version);
/* SHA-256 of the parameter buffer as hex. */
void    sk_policy_sha256(const sk_policy *self, char ret_hex[65]);

/* Write to / read from an open container, or a file of its own. Load checks every size against the network the file
 * describes. SK_EIO, SK_ECORRUPT, SK_EVERSION. */
SK_NODISCARD sk_status sk_policy_pack(const sk_policy *self, sk_pack_writer *writer, sk_error *reterr);
SK_NODISCARD sk_status sk_policy_unpack(const sk_pack *pack, sk_policy **ret_policy, sk_error *reterr);
SK_NODISCARD sk_status sk_policy_save(const sk_policy *self, const char *path, sk_error *reterr);
/* `path`: a policy file, or a checkpoint folder (its policy.skiff), or a run folder (its best, else its newest). */
SK_NODISCARD sk_status sk_policy_load(const char *path, sk_policy **ret_policy, sk_error *reterr);

#endif
