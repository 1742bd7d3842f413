/* kernels: the table of everything that computes on the CPU, one table per instruction set. All arrays are
 * float32 in host memory. "=" means the destination is overwritten, "+=" that it is added to.
 * Threads: pure functions. */
#ifndef SK_NN_CPU_KERNELS_H
#define SK_NN_CPU_KERNELS_H
#include "nn/graph.h"
#include <stddef.h>
#include <stdint.h>

enum { SK_DOT_LANES = 16 }; /* at every level, so that v3 and v4 agree in all that acting needs */

/* C (m x n) = or += A (m x k) B (k x n) [+ bias], n a multiple of SK_PAD (columns of B and C are padded),
 * every element summed over k in rising order, so an element does not depend on m, n or its place. */
typedef struct sk_gemm {
    int          m, n, k;
    const float *a;
    ptrdiff_t    a_row, a_col; /* floats between rows / columns of A: any; A^T by swapping them */
    const float *b;
    ptrdiff_t    b_row;
    float       *c;
    ptrdiff_t    c_row;
    const float *bias;         /* (n) starting value of every row, or NULL. Not with accumulate */
    int          accumulate;   /* 1: +=                                                        */
} sk_gemm;

/* One group of logits in CATEGORICAL and friends. */
typedef struct sk_categorical {
    int            rows, n_parts, ld;    /* ld of logits, mask_ld of mask                       */
    const int     *part_n;
    const float   *logits;
    const float   *mask;                 /* NULL or (rows x mask_ld) 0 / 1                      */
    int            mask_ld;
    const int32_t *action;               /* (rows x action_ld): n_parts choices                 */
    int            action_ld;
    float         *out;                  /* forward: (rows x 16): log-prob, entropy, zeros      */
    const float   *d_out;                /* backward                                            */
    float         *d_logits;             /* backward, =                                         */
    const float   *noise;                /* sample: (rows x noise_ld) uniform; < 0 = most probable */
    int            noise_ld;
    int32_t       *choice;               /* sample: (rows x action_ld)                          */
} sk_categorical;

typedef struct sk_gaussian {
    int          rows, cols, ld, log_std_ld; /* log_std_ld 0 = one row for all                  */
    const float *mean, *log_std, *action;
    int          action_ld;
    float       *out;                    /* forward: (rows x 16)                                */
    const float *d_out;
    float       *d_mean;                 /* backward, = (rows x ld); NULL to skip               */
    float       *d_log_std;              /* backward: += if one row for all, else = ; NULL      */
    float       *sample;                 /* sample: (rows x ld) mean + std * action (as noise)  */
} sk_gaussian;

/* An action in [-1, 1] and its log-probability. */
typedef struct sk_squashed {
    int          rows, cols, ld, log_std_ld; /* log_std_ld 0 = one row for all                  */
    const float *mean, *log_std, *noise;
    int          noise_ld, out_ld;
    float       *out;                    /* (rows x out_ld) cols actions, log-prob; backward reads it */
    const float *d_out;
    float       *d_mean;                 /* backward, = (rows x ld); NULL to skip               */
    float       *d_log_std;              /* backward: += if one row for all, else = ; NULL      */
} sk_squashed;

/* State-dependent exploration. */
typedef struct sk_sde {
    int          rows, k, cols, padded;  /* padded: cols rounded up to SK_PAD                   */
    const float *x;                      /* (rows x k)                                          */
    ptrdiff_t    x_ld;
    const float *log_std;                /* (k x cols)                                          */
    ptrdiff_t    log_std_ld;
    float       *out;                    /* (rows x cols); backward of sde_log_std reads it     */
    ptrdiff_t    out_ld;
    const float *d_out;
    float       *d_log_std;              /* backward, +=                                        */
    const float *mean, *eps;             /* sample: (rows x cols), (rows x k * cols)            */
    ptrdiff_t    mean_ld, eps_ld;
    float       *squares, *wide, *table, *sums; /* scratch: rows x k, rows x padded, k x padded, k x padded */
} sk_sde;

typedef struct sk_ppo_loss {
    int          rows;
    const float *dist;                   /* (rows x 16) log-prob, entropy                       */
    const float *value, *logp_old, *value_old, *advantage, *value_target, *weight; /* (rows)    */
    const float *coef;                   /* SK_PPO_COEF_N                                       */
    double      *stats;                  /* forward: += SK_PPO_N                                */
    float        d_total;                /* backward: derivative of the minimised sum by TOTAL  */
    float       *d_dist;                 /* backward, = (rows x 16)                             */
    float       *d_value;                /* backward, = (rows)                                  */
} sk_ppo_loss;

/* One row of a quantile regression loss. */
typedef struct sk_quantile {
    int          k, n_targets;
    float        kappa;
    const float *theta, *target;         /* (k), (n_targets)                                    */
    float       *out;                    /* = (k) each quantile's loss, or its slope by theta   */
} sk_quantile;

typedef struct sk_adam_step {
    size_t n;
    float *param, *m, *v;
    const float *grad;
    float grad_scale;                    /* of clipping                                         */
    float beta1, beta2, eps, step_size;  /* step_size = lr / (1 - beta1^t)                      */
    float inv_sqrt_bias2;                /* 1 / sqrt(1 - beta2^t)                               */
} sk_adam_step;

typedef struct sk_kernels {
    const char *level; /* "x86-64-v4" */

    void (*gemm)(const sk_gemm *g);
    /* y[r] = sum_k x[r, k] w[k] + bias, for n == 1 layers (w contiguous): SK_DOT_LANES partial sums over k, k + 16,
     * ..., added by halves. */
    void (*dot_rows)(int rows, int k, const float *x, ptrdiff_t x_row, const float *w, float bias, float *y);
    /* dst (cols x rows, row length dst_ld) = src^T; pads of dst up to dst_ld are zeroed. */
    void (*transpose)(int rows, int cols, const float *src, ptrdiff_t src_ld, float *dst, ptrdiff_t dst_ld);
    /* sum over rows: out[c] = or += sum_r x[r, c], c < n (n multiple of SK_PAD or 1 with ld 1). */
    void (*col_sum)(int rows, int n, const float *x, ptrdiff_t ld, float *out, int accumulate);

    /* y = f(x) over n floats (may be in place); dx = or += f'(x) dy, given y = f(x). */
    void (*unary)(int kind, float a, float b, const float *x, float *y, size_t n);
    void (*unary_grad)(int kind, float a, float b, const float *x, const float *y, const float *dy, float *dx,
                       size_t n, int accumulate);
    void (*binary)(int kind, const float *x, const float *y, float *z, size_t n);
    /* dx, dy may be NULL. */
    void (*binary_grad)(int kind, const float *x, const float *y, const float *dz, float *dx, int dx_accumulate,
                        float *dy, int dy_accumulate, size_t n);
    void (*add_to)(const float *x, float *y, size_t n);              /* y += x      */
    void (*scale_add_to)(float a, const float *x, float *y, size_t n); /* y += a x  */
    void (*polyak)(float tau, const float *x, float *y, size_t n);     /* y += tau (x - y) */
    double (*sum_squares)(const float *x, size_t n);
    /* dst[i] = sum over s in order of src[s * stride + i] */
    void (*sum_slots)(int n_slots, const float *src, size_t stride, float *dst, size_t n);
    void (*normalize)(int rows, int cols, const float *x, ptrdiff_t x_ld, const float *mean, const float *inv_std,
                      float limit, float *y, ptrdiff_t y_ld);

    void (*softmax)(int rows, int cols, int ld, const float *x, float *y, int log);
    void (*softmax_grad)(int rows, int cols, int ld, const float *y, const float *dy, float *dx, int log,
                         int accumulate);
    void (*layer_norm)(int rows, int cols, int ld, const float *x, const float *gamma, const float *beta, float *y);
    /* dgamma, dbeta +=; each of dx, dgamma, dbeta may be NULL to skip it. */
    void (*layer_norm_grad)(int rows, int cols, int ld, const float *x, const float *gamma, const float *dy, float *dx,
                            int dx_accumulate, float *dgamma, float *dbeta);
    void (*categorical)(const sk_categorical *c);
    void (*categorical_grad)(const sk_categorical *c);
    void (*categorical_sample)(const sk_categorical *c);
    void (*gaussian_sample)(const sk_gaussian *g);
    void (*gaussian)(const sk_gaussian *g);
    void (*gaussian_grad)(const sk_gaussian *g);
    void (*squashed)(const sk_squashed *g);
    void (*squashed_grad)(const sk_squashed *g);
    void (*sde_log_std)(const sk_sde *s);
    void (*sde_log_std_grad)(const sk_sde *s);
    void (*sde_sample)(const sk_sde *s);
    void (*ppo_loss)(const sk_ppo_loss *p);
    void (*ppo_loss_grad)(const sk_ppo_loss *p);
    void (*quantile_huber)(const sk_quantile *q);
    void (*quantile_huber_grad)(const sk_quantile *q);
    void (*adam)(const sk_adam_step *s);
    /* n_rounds rounds of independent multiply-adds in registers: what the machine can do. Returns the flops done;
     * *sink keeps them from being optimised away. */
    double (*fma_peak)(int64_t n_rounds, float *sink);
} sk_kernels;

/* The best table this machine can run, or the one named by $SKIFF_ISA (v2, v3, v4) if it can. */
const sk_kernels *sk_kernels_get(void);
/* By level 2, 3 or 4; NULL if the machine cannot run it. */
const sk_kernels *sk_kernels_at(int level);

#endif
