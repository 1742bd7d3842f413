"""Judges deploy/*.yaml by the schemas of those who read such files: Kubernetes' own (in the wheel kubernetes-validate)
and SkyPilot's own (in its wheel). Both are read out of the wheels that tests/python/setup.sh downloads; nothing of them
is installed. Runs in the tests' Python environment, which has jsonschema and PyYAML."""
import ast
import enum
import glob
import importlib
import json
import os
import sys
import tempfile
import types
import typing
import zipfile

import jsonschema
import referencing


def find_wheel(folder, name):
    wheels = glob.glob(os.path.join(folder, name + "-*.whl"))
    return wheels[0] if wheels else None


class Kubernetes:
    """Schemas that take no unknown field, of one version of Kubernetes."""

    def __init__(self, wheel, version):
        self.wheel = zipfile.ZipFile(wheel)
        self.folder = f"kubernetes_validate/kubernetes-json-schema/v{version}.0-local-strict/"
        definitions = self.read("_definitions.json")
        self.registry = referencing.Resource.from_contents(definitions) @ referencing.Registry()

    def read(self, name):
        return json.loads(self.wheel.read(self.folder + name))

    def faults(self, document):
        """["path: what is wrong", ...] of one resource."""
        group = document["apiVersion"].split("/")
        kind = "-".join([document["kind"].lower(), group[0].split(".")[0]] + group[1:])
        schema = self.read(kind + ".json")
        validator = jsonschema.Draft202012Validator(schema, registry=self.registry)
        return ["/".join(map(str, e.absolute_path)) + ": " + e.message for e in validator.iter_errors(document)]


def stub(name, **content):
    module = types.ModuleType(name)
    module.__dict__.update(content)
    sys.modules[name] = module
    parent, _, child = name.rpartition(".")
    if parent:
        setattr(sys.modules[parent], child, module)
    return module


class SkyPilot:
    """sky/utils/schemas.py and its validator, as they are; SkyPilot's other modules need clouds' packages and are
    replaced by the little that the schemas of tasks take from them."""
    FILES = ["utils/schemas.py", "utils/validator.py", "utils/kubernetes_enums.py", "skylet/constants.py",
             "skylet/autostop_lib.py", "setup_files/dependencies.py"]

    def __init__(self, wheel):
        version = os.path.basename(wheel).split("-")[1]
        with tempfile.TemporaryDirectory() as folder, zipfile.ZipFile(wheel) as archive:
            for name in self.FILES:
                archive.extract("sky/" + name, folder)
            for name in ("sky", "sky.utils", "sky.skylet", "sky.setup_files", "sky.server"):
                stub(name, __path__=[os.path.join(folder, *name.split("."))], __version__=version, __commit__="")
            stub("sky.server.daemons", INTERNAL_REQUEST_DAEMONS=[])
            self.take_class(os.path.join(folder, "sky/skylet/autostop_lib.py"), "AutostopWaitFor")
            schemas = importlib.import_module("sky.utils.schemas")
            self.validator = importlib.import_module("sky.utils.validator").get_schema_validator()
        self.task, self.resources = schemas.get_task_schema(), schemas.get_resources_schema()

    @staticmethod
    def take_class(path, name):
        with open(path) as file:
            found = [n for n in ast.parse(file.read()).body if isinstance(n, ast.ClassDef) and n.name == name]
        module = stub("sky.skylet.autostop_lib", enum=enum, typing=typing, **vars(typing))
        exec(compile(ast.Module(found, []), path, "exec"), module.__dict__)  # pylint: disable=exec-used

    def faults(self, task):
        places = [("", self.task, task), ("resources/", self.resources, task.get("resources", {}))]
        return [place + "/".join(map(str, e.absolute_path)) + ": " + e.message
                for place, schema, part in places for e in self.validator(schema).iter_errors(part)]
