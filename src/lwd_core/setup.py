# SPDX-License-Identifier: Apache-2.0
from setuptools import find_packages, setup

package_name = 'lwd_core'

setup(
    name=package_name,
    version='0.1.0',
    packages=find_packages(exclude=['test']),
    data_files=[
        ('share/ament_index/resource_index/packages', ['resource/' + package_name]),
        ('share/' + package_name, ['package.xml']),
    ],
    install_requires=[
        'setuptools', 'mcap', 'obstore', 'onnx', 'onnxscript', 'rosbags', 'safetensors', 'torch'],
    zip_safe=True,
    maintainer='LWD maintainers',
    maintainer_email='maintainers@lwd-robotics.org',
    description='What robot and learner must agree on; imports no rclpy.',
    license='Apache-2.0',
)
