// RLtools on row 3c of the speed table: SAC on its own Pendulum, 64x64, batch 100, 10,000 steps, one update of both
// critics, actor and temperature after each, one thread. Built and run by compare_control.py. usage: rltools_sac [seed]
#include <rl_tools/operations/cpu_mux.h>
#include <rl_tools/rl/environments/pendulum/operations_cpu.h>
// the order matters: what the optimizer does to a parameter, matrix products through BLAS, layers
#include <rl_tools/nn/optimizers/adam/instance/operations_generic.h>
#include <rl_tools/nn/operations_cpu_mux.h>
#include <rl_tools/nn/layers/sample_and_squash/operations_generic.h>
#include <rl_tools/nn_models/mlp/operations_generic.h>
#include <rl_tools/nn_models/sequential/operations_generic.h>
#include <rl_tools/nn/optimizers/adam/operations_generic.h>
#include <rl_tools/rl/algorithms/sac/loop/core/config.h>
#include <rl_tools/rl/algorithms/sac/loop/core/operations_generic.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>

namespace rlt = rl_tools;
using Device = rlt::devices::DEVICE_FACTORY<>;
#ifdef RL_TOOLS_BACKEND_ENABLE_OPENBLAS
static_assert(Device::DEVICE_ID == rlt::devices::DeviceId::CPU_OPENBLAS);
#endif
using Rng = Device::SPEC::RANDOM::ENGINE<>;
using Index = Device::index_t;
using Types = rlt::numeric_types::Policy<float>;
using Pendulum = rlt::rl::environments::Pendulum<rlt::rl::environments::pendulum::Specification<float, Index>>;

namespace sac = rlt::rl::algorithms::sac;
struct Parameters : sac::loop::core::DefaultParameters<Types, Index, Pendulum> {
    struct SAC_PARAMETERS : sac::DefaultParameters<Types, Index, Pendulum::ACTION_DIM> {
        static constexpr Index ACTOR_BATCH_SIZE = 100, CRITIC_BATCH_SIZE = 100;
    };
    static constexpr Index STEP_LIMIT = 10000, REPLAY_BUFFER_CAP = 10000;
};
using Loop = sac::loop::core::Config<Types, Index, Rng, Pendulum, Parameters>;

int main(int argc, char **argv) {
    static Loop::State<Loop> loop;
    Device device;
    rlt::init(device);
    rlt::malloc(device, loop);
    rlt::init(device, loop, argc > 1 ? (Index)std::atoi(argv[1]) : 1);
    auto start = std::chrono::steady_clock::now();
    while (!rlt::step(device, loop)) {}
    double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    std::printf("{\"peer\": \"RLtools\", \"row\": \"3c SAC Pendulum\", \"value\": %.6g, \"unit\": \"s\"}\n", seconds);
    rlt::free(device, loop);
    return 0;
}
