# SPDX-License-Identifier: Apache-2.0
from setuptools import find_packages, setup

package_name = 'lwd_learner'

setup(
    name=package_name,
    version='0.1.0',
    packages=find_packages(exclude=['test']),
    data_files=[
        ('share/ament_index/resource_index/packages', ['resource/' + package_name]),
        ('share/' + package_name, ['package.xml']),
    ],
    install_requires=['setuptools', 'safetensors', 'torch'],
    zip_safe=True,
    maintainer='LWD maintainers',
    maintainer_email='maintainers@lwd-robotics.org',
    description='Ingest, replay, DIVL, QAM, the training loop and publishing.',
    license='Apache-2.0',
    entry_points={'console_scripts': ['learner_node = lwd_learner.learner_node:main']},
)
