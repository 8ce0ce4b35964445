# SPDX-License-Identifier: Apache-2.0
"""A recorded episode shown to a policy again: what would it have done, tick by tick?"""
