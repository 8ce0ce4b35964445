# SPDX-License-Identifier: Apache-2.0
"""Record every episode of a robot as one rosbag2/MCAP bag."""
