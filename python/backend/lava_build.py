"""The build backend of pyproject.toml (PEP 517, 660): puts the files of python/lava_kv into a wheel as they are.

It needs Python alone, so that pip installs the package where no build tools are and no index can be reached.
"""

import base64
import hashlib
import io
import os
import tarfile
import tomllib
import zipfile

PACKAGE = "lava_kv"
SOURCE = os.path.join("python", PACKAGE)
TAG = "py3-none-any"
DATE = (1980, 1, 1, 0, 0, 0)  # the same sources give the same wheel


def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
    return _write_wheel(wheel_directory, {f"{PACKAGE}/{name}": _read(os.path.join(SOURCE, name)) for name in _files()})


def build_editable(wheel_directory, config_settings=None, metadata_directory=None):
    return _write_wheel(wheel_directory, {f"_{PACKAGE}.pth": (os.path.abspath("python") + "\n").encode()})


def build_sdist(sdist_directory, config_settings=None):
    base = _name(_project())
    paths = ["pyproject.toml", "LICENSE", "python/README.md", "python/backend/lava_build.py",
             *(f"python/{PACKAGE}/{name}" for name in _files())]
    with tarfile.open(os.path.join(sdist_directory, f"{base}.tar.gz"), "w:gz", format=tarfile.PAX_FORMAT) as archive:
        for path, data in [*((path, _read(path)) for path in paths), ("PKG-INFO", _metadata(_project()))]:
            entry = tarfile.TarInfo(f"{base}/{path}")
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    return f"{base}.tar.gz"


def _project():
    with open("pyproject.toml", "rb") as file:
        return tomllib.load(file)["project"]


def _name(project):
    return f"{project['name'].replace('-', '_')}-{project['version']}"


def _files():
    return sorted(name for name in os.listdir(SOURCE) if name.endswith(".py") or name == "py.typed")


def _read(path):
    with open(path, "rb") as file:
        return file.read()


def _metadata(project):
    lines = ["Metadata-Version: 2.1", f"Name: {project['name']}", f"Version: {project['version']}", f"Summary: {project['description']}",
             f"License: {project['license']}", f"Requires-Python: {project['requires-python']}",
             *(f"Requires-Dist: {need}" for need in project["dependencies"])]
    for extra, needs in project["optional-dependencies"].items():
        lines += [f"Provides-Extra: {extra}", *(f'Requires-Dist: {need}; extra == "{extra}"' for need in needs)]
    return "\n".join([*lines, "Description-Content-Type: text/markdown", "", ""]).encode() + _read(project["readme"])


def _write_wheel(folder, files):
    project = _project()
    info = f"{_name(project)}.dist-info"
    files = {**files, f"{info}/METADATA": _metadata(project), f"{info}/licenses/LICENSE": _read("LICENSE"),
             f"{info}/WHEEL": f"Wheel-Version: 1.0\nGenerator: lava_build\nRoot-Is-Purelib: true\nTag: {TAG}\n".encode()}
    record = "".join(f"{name},sha256={_digest(data)},{len(data)}\n" for name, data in files.items()) + f"{info}/RECORD,,\n"
    wheel = f"{_name(project)}-{TAG}.whl"
    with zipfile.ZipFile(os.path.join(folder, wheel), "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in {**files, f"{info}/RECORD": record.encode()}.items():
            entry = zipfile.ZipInfo(name, DATE)
            entry.external_attr = 0o100644 << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, data)
    return wheel


def _digest(data):
    return base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
