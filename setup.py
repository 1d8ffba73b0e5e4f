import shutil

from setuptools import setup
from setuptools.command.build import build


class Build(build):
    """Builds what is here alone: `build/lib` may hold files of an earlier version, from the last
    `pip install .`, which setuptools would install again, and in place of ones with older times."""

    def run(self):
        shutil.rmtree(self.build_lib, ignore_errors=True)
        super().run()


setup(cmdclass={"build": Build})
