#!/usr/bin/env python3
"""validate.py FILE...: every custom object in rendered files against the schema of its kind in this folder.

Prints how many there are; an object of a kind without a schema is an error. Each schema is also shown the object with a
field that it does not know: one that lets that pass checks nothing.
"""

import copy
import json
import pathlib
import sys

import jsonschema
import yaml

HERE = pathlib.Path(__file__).parent
SCHEMAS = {}
for path in HERE.glob("*.json"):
    schema = json.loads(path.read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    named = schema["properties"]
    SCHEMAS[named["apiVersion"]["const"], named["kind"]["const"]] = jsonschema.Draft202012Validator(schema)
# Groups of Kubernetes itself have no dot, or this ending; kubernetes-validate knows them. Kustomize's never reach a cluster.
OWN = (".k8s.io",)
CUSTOM = ("gateway.networking.k8s.io",)


def is_custom(document):
    group = document["apiVersion"].rpartition("/")[0]
    return group in CUSTOM or ("." in group and not group.endswith(OWN))


def errors(document):
    validator = SCHEMAS.get((document["apiVersion"], document["kind"]))
    if validator is None:
        return [f"there is no schema for {document['apiVersion']} {document['kind']} in k8s/schemas"]
    return [f"{'/'.join(map(str, e.absolute_path))}: {e.message[:300]}" for e in validator.iter_errors(document)]


def main():
    count, bad = 0, []
    for file in sys.argv[1:]:
        for document in filter(None, yaml.safe_load_all(open(file))):
            if not is_custom(document):
                continue
            count += 1
            name = f"{document['kind']} {document['metadata']['name']}"
            found = errors(document)
            bad += [f"{name}: {error}" for error in found]
            if not found:
                wrong = copy.deepcopy(document)
                wrong["spec"]["notAField"] = 1
                if not errors(wrong):
                    bad.append(f"{name}: its schema lets an unknown field pass")
    if bad:
        sys.exit("k8s: " + "\nk8s: ".join(bad))
    print(f"k8s: {count} custom objects are valid by k8s/schemas")


main()
