# SPDX-License-Identifier: Apache-2.0
"""A learner's life: waits, starts, learns from what robots record, ends cleanly, resumes."""


from learner_stores import CONFIG

from lwd_learner.config import LearnerConfig

SMALL = LearnerConfig.from_dict(CONFIG)
