# SPDX-License-Identifier: Apache-2.0
from setuptools import find_packages, setup

package_name = 'lwd_logger'

setup(
    name=package_name,
    version='0.1.0',
    packages=find_packages(exclude=['test']),
    data_files=[
        ('share/ament_index/resource_index/packages', ['resource/' + package_name]),
        ('share/' + package_name, ['package.xml']),
    ],
    install_requires=['setuptools'],
    zip_safe=True,
    maintainer='LWD maintainers',
    maintainer_email='maintainers@lwd-robotics.org',
    description='Episode recorder: one rosbag2/MCAP bag per episode, handed to the store.',
    license='Apache-2.0',
    entry_points={'console_scripts': [
        'recorder_node = lwd_logger.recorder_node:main',
        'uploader_node = lwd_logger.uploader_node:main',
    ]},
)
