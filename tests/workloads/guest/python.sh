# SPDX-License-Identifier: Apache-2.0
# A wheel is made and installed by pip into a virtual environment of its own.
# shellcheck shell=sh
mkdir wheels
python3 - <<'PYTHON'
import zipfile

info = "hi-1.0.dist-info/"
with zipfile.ZipFile("wheels/hi-1.0-py3-none-any.whl", "w") as wheel:
    wheel.writestr("hi/__init__.py", "ANSWER = 42\n")
    wheel.writestr(info + "METADATA", "Metadata-Version: 2.1\nName: hi\nVersion: 1.0\n")
    wheel.writestr(info + "WHEEL", "Wheel-Version: 1.0\nGenerator: x\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
    wheel.writestr(info + "RECORD", "".join(name + ",,\n" for name in wheel.namelist()))
PYTHON
python3 -m venv env
env/bin/pip install --no-index --find-links wheels hi
env/bin/python -c 'import hi; print(hi.ANSWER)'
