"""The one thing that pyproject.toml cannot say: `modules/` and `samples/` travel in the wheel as `project/_share/`."""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

SHARED = ("modules", "samples")
ROOT = Path(__file__).resolve().parent


class BuildWithShare(build_py):
    """Copies the shared folders beside the package. An editable install uses the checkout's own folders."""

    def run(self) -> None:
        super().run()
        if getattr(self, "editable_mode", False):
            return
        for name in SHARED:
            target = Path(self.build_lib) / "project" / "_share" / name
            if target.exists():
                shutil.rmtree(target)
            if (ROOT / name).is_dir():
                shutil.copytree(ROOT / name, target, ignore=shutil.ignore_patterns("__pycache__", "*.pyc"))


setup(cmdclass={"build_py": BuildWithShare})
