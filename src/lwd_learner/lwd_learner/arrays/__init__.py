# SPDX-License-Identifier: Apache-2.0
"""Learn from any dataset given as arrays, with the robots' learner and without ROS.

>>> from lwd_learner import arrays
>>> trained = arrays.train(arrays.load_npz('data.npz'))
>>> chunk = trained.policy.act(observation)  # float32 [H, d] in [-1, 1]
>>> trained.save('data/arrays')  # later: arrays.load_policy('data/arrays')
"""

from lwd_learner.arrays.dataset import Dataset, DatasetError, from_arrays, load_npz
from lwd_learner.arrays.mapping import returns_to_go, ValueMapping
from lwd_learner.arrays.policy import ArrayPolicy, load_policy
from lwd_learner.arrays.train import default_config, train, Trained

__all__ = ['ArrayPolicy', 'Dataset', 'DatasetError', 'Trained', 'ValueMapping', 'default_config',
           'from_arrays', 'load_npz', 'load_policy', 'returns_to_go', 'train']
