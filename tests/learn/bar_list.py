"""The learning bars. name = stem of the config in configs/; `bar` = what the mean return of 100 fresh episodes must
reach within `steps` env steps, by `need` of the `seeds` seeds; published = what the literature reports for the same
environment; `rate` = env steps/s expected of two cores, for estimates of time only.

Published: Z = rl-baselines3-zoo's benchmark.md (one run, spread over episodes; MuJoCo v3), C = CleanRL (3 seeds,
training return at the end; MuJoCo v4), T = Tianshou (10 seeds, best over the first 1M steps; MuJoCo v3), B = OpenAI
Baselines, F = the TD3 paper, G = the best possible by Gymnasium's documentation."""


def bar(name, env, algo, steps, bar, rate, published, seeds=5, need=4):
    return dict(name=name, env=env, algo=algo, steps=steps, bar=float(bar), rate=rate, published=published, seeds=seeds,
                need=need)


BARS = [
    bar("cartpole_ppo", "CartPole-v1", "PPO", 100_000, 475, 80_000, "Z 500±0 @100k; C 490±6 @500k"),
    bar("pendulum_ppo", "Pendulum-v1", "PPO", 300_000, -210, 120_000, "Z -172±104 @100k (gSDE)"),
    bar("acrobot_ppo", "Acrobot-v1", "PPO", 500_000, -90, 400_000, "Z -73.5±18.2 @1M; C -86.4±1.3 @500k"),
    bar("mountain_car_ppo", "MountainCar-v0", "PPO", 1_000_000, -130, 250_000, "Z -110.4±19.5 @1M; C -200±0 @500k"),
    bar("frozen_lake_ppo", "FrozenLake-v1 4x4 slippery", "PPO", 500_000, 0.70, 1_000_000, "G 0.74"),
    bar("taxi_ppo", "Taxi-v4", "PPO", 2_000_000, 7, 600_000, "G 8.46"),
    bar("cliff_walking_ppo", "CliffWalking-v1", "PPO", 300_000, -17, 1_000_000, "G -13"),
    bar("mountain_car_continuous_ppo", "MountainCarContinuous-v0", "PPO", 100_000, 85, 50_000,
        "Z 88.3±2.6 @20k (gSDE)"),
    bar("hopper_ppo", "Hopper-v5", "PPO", 1_000_000, 2000, 15_000, "Z 2410±10; T 2609±701; C 2383±272; B ~2400 @1M"),
    bar("halfcheetah_ppo", "HalfCheetah-v5", "PPO", 1_000_000, 4000, 10_000,
        "Z 5819±664; T 5784±1244; C 1443±46; B ~1700 @1M"),
    bar("swimmer_ppo", "Swimmer-v5", "PPO", 1_000_000, 120, 20_000, "Z 282±10 (gamma 0.9999); T 67±99; B ~111 @1M"),
    bar("cartpole_dqn", "CartPole-v1", "DQN", 100_000, 475, 3_000, "Z 500±0 @50k; C 488.7±16.1 @500k"),
    bar("acrobot_dqn", "Acrobot-v1", "DQN", 100_000, -95, 1_500, "Z -76.6±11.8 @100k; C -91.5±7.2 @500k"),
    bar("pendulum_sac", "Pendulum-v1", "SAC", 20_000, -170, 250, "Z -157±88.7 @20k"),
    bar("mountain_car_continuous_sac", "MountainCarContinuous-v0", "SAC", 50_000, 90, 1_000, "Z 94.7±1.1 @50k"),
    bar("inverted_double_pendulum_sac", "InvertedDoublePendulum-v5", "SAC", 300_000, 9200, 250, "T 9360±0.4 @1M"),
    bar("halfcheetah_sac", "HalfCheetah-v5", "SAC", 1_000_000, 8000, 250,
        "Z 9535±100; T 12139±1049; C 9635±1424 @1M", 2, 2),
    bar("pendulum_td3", "Pendulum-v1", "TD3", 20_000, -170, 350, "Z -151.9±90.2 @20k"),
    bar("hopper_td3", "Hopper-v5", "TD3", 1_000_000, 2700, 350,
        "Z 3606±4; T 3472±117; C 3135±360; F 3564±115 @1M", 2, 2),
    bar("walker2d_td3", "Walker2d-v5", "TD3", 1_000_000, 3300, 350,
        "Z 4718±46; T 3982±275; C 4058±659; F 4683±540 @1M", 2, 2),
]
