/* The environments of Gymnasium that run on MuJoCo: sk_env_<identifier> and what users call it. */
#ifndef SK_ENVS_MUJOCO_NAMES_H
#define SK_ENVS_MUJOCO_NAMES_H

#define SK_MUJOCO_ENVS(X)                                                                                             \
    X(half_cheetah, "HalfCheetah-v5") X(hopper, "Hopper-v5") X(walker2d, "Walker2d-v5") X(ant, "Ant-v5")              \
    X(humanoid, "Humanoid-v5") X(humanoid_standup, "HumanoidStandup-v5") X(swimmer, "Swimmer-v5")                     \
    X(reacher, "Reacher-v5") X(pusher, "Pusher-v5") X(inverted_pendulum, "InvertedPendulum-v5")                       \
    X(inverted_double_pendulum, "InvertedDoublePendulum-v5")

#endif
