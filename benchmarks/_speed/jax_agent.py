# SPDX-License-Identifier: Apache-2.0
"""Time full updates of QAM's public JAX agent; run by learner_speed.py in the peer's environment.

    PYTHON benchmarks/_speed/jax_agent.py SOURCE CORES REPEATS LAYERS WIDTH CRITICS

SOURCE is a checkout of github.com/ColinQiyangLi/qam; PYTHON has jax, flax, optax, distrax,
ml_collections. Prints a line of JSON: milliseconds of processor and of wall time of each update.
"""

import importlib
import json
import os
import sys
import time
import types

source, numbers = sys.argv[1], [int(number) for number in sys.argv[2:]]
cores, repeats, layers, width, critics = numbers
os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:cores])  # before jax counts them
sys.path.insert(0, source)
package = types.ModuleType('agents')  # the package itself would import all agents and simulators
package.__path__ = [os.path.join(source, 'agents')]
sys.modules['agents'] = package

import jax  # noqa: E402
import numpy as np  # noqa: E402

qam = importlib.import_module('agents.qam')
BATCH, HORIZON, DIM, STATE = 256, 5, 5, 28


def main() -> None:
    """Measure."""
    config = qam.get_config()
    config.horizon_length, config.action_chunking, config.num_qs = HORIZON, True, critics
    config.actor_hidden_dims = config.value_hidden_dims = (width,) * layers
    draw = np.random.default_rng(0)
    batch = {
        'observations': draw.normal(size=(BATCH, STATE)),
        'next_observations': draw.normal(size=(BATCH, HORIZON, STATE)),
        'actions': draw.uniform(-1, 1, (BATCH, HORIZON, DIM)),
        'rewards': np.zeros((BATCH, HORIZON)), 'masks': np.ones((BATCH, HORIZON)),
        'valid': np.ones((BATCH, HORIZON))}
    batch = {name: value.astype(np.float32) for name, value in batch.items()}
    agent = qam.QAMAgent.create(0, batch['observations'][0], batch['actions'][0, 0], config)
    spent = []
    for _ in range(repeats + 1):  # the first compiles
        wall, processor = time.perf_counter(), time.process_time()
        agent, metrics = agent.update(batch)
        jax.block_until_ready((agent, metrics))
        spent.append([(time.process_time() - processor) * 1e3, (time.perf_counter() - wall) * 1e3])
    print(json.dumps({'processor_ms': [one[0] for one in spent[1:]],
                      'wall_ms': [one[1] for one in spent[1:]], 'compile_ms': spent[0][1]}))


if __name__ == '__main__':
    main()
