# SPDX-License-Identifier: Apache-2.0
from setuptools import find_packages, setup

package_name = 'lwd_policy_node'

setup(
    name=package_name,
    version='0.1.0',
    packages=find_packages(exclude=['test']),
    data_files=[
        ('share/ament_index/resource_index/packages', ['resource/' + package_name]),
        ('share/' + package_name, ['package.xml']),
    ],
    install_requires=['setuptools', 'onnxruntime', 'torch'],
    zip_safe=True,
    maintainer='LWD maintainers',
    maintainer_email='maintainers@lwd-robotics.org',
    description='Flow-policy inference at control rate with hot reload between episodes.',
    license='Apache-2.0',
    entry_points={
        'console_scripts': ['policy_node = lwd_policy_node.policy_node:main'],
    },
)
