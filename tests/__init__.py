"""The tests; they have a model store of their own, which bentoml must know before it is imported."""

import atexit
import os
import tempfile

_store = tempfile.TemporaryDirectory(prefix="image-recognition-tests-")
atexit.register(_store.cleanup)
os.environ["BENTOML_HOME"] = _store.name
os.environ["BENTOML_DO_NOT_TRACK"] = "True"
os.environ["OMP_NUM_THREADS"] = "1"  # two tests run at once: torch must not fight over the cores
os.environ.pop("MAKEFLAGS", None)  # the variables of 'make test' are not those of what a test makes
for _name in [name for name in os.environ if name.startswith("IMAGE_RECOGNITION_")]:
    del os.environ[_name]
