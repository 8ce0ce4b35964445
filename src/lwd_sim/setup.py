# SPDX-License-Identifier: Apache-2.0
from setuptools import find_packages, setup

package_name = 'lwd_sim'

setup(
    name=package_name,
    version='0.1.0',
    packages=find_packages(exclude=['test']),
    data_files=[
        ('share/ament_index/resource_index/packages', ['resource/' + package_name]),
        ('share/' + package_name, ['package.xml']),
    ],
    install_requires=['setuptools', 'gymnasium', 'mujoco', 'safetensors', 'torch'],
    zip_safe=True,
    maintainer='LWD maintainers',
    maintainer_email='maintainers@lwd-robotics.org',
    description='Simulated dual-arm robots, their tasks and a scripted operator.',
    license='Apache-2.0',
    entry_points={
        'console_scripts': [
            'sim_robot_node = lwd_sim.sim_robot_node:main',
            'view_node = lwd_sim.view_node:main',
            'operator_node = lwd_sim.operator_node:main',
        ],
    },
)
