# SPDX-License-Identifier: Apache-2.0
from setuptools import find_packages, setup

package_name = 'lwd_intervention'

setup(
    name=package_name,
    version='0.1.0',
    packages=find_packages(exclude=['test']),
    data_files=[
        ('share/ament_index/resource_index/packages', ['resource/' + package_name]),
        ('share/' + package_name, ['package.xml']),
    ],
    install_requires=['setuptools', 'mink', 'mujoco', 'pygame-ce'],
    zip_safe=True,
    maintainer='LWD maintainers',
    maintainer_email='maintainers@lwd-robotics.org',
    description='Who drives the robot: arbiter and episode state machine.',
    license='Apache-2.0',
    entry_points={
        'console_scripts': [
            'arbiter_node = lwd_intervention.arbiter_node:main',
            'episode_node = lwd_intervention.episode_node:main',
            'joy_node = lwd_intervention.joy_node:main',
            'teleop_node = lwd_intervention.teleop_node:main',
        ],
    },
)
