#!/usr/bin/env python3
"""from_crd.py CRD.yaml VERSION: writes the JSON schema of a custom resource, as validate.py reads it, beside itself.

It is the CRD's own schema in a stricter and shorter form: what it does not name is refused, its descriptions are left out,
and its rules in CEL too, which only an API server runs.
"""

import json
import pathlib
import sys

import yaml

DROPPED = {"description", "default", "format", "example"}


def strict(schema):
    """A node of an OpenAPI v3 schema as JSON schema."""
    if schema.get("x-kubernetes-int-or-string"):
        return {"type": ["integer", "string"]} | ({"pattern": schema["pattern"]} if "pattern" in schema else {})
    out = {}
    for key, value in schema.items():
        if key in DROPPED or key.startswith("x-") or key == "nullable":
            continue
        if key == "properties":
            value = {name: strict(child) for name, child in value.items()}
        elif key == "pattern":
            value = value.replace("^(?i)", "(?i)^")  # Go takes a flag in the middle, others at the start only
        elif key in ("items", "not") or (key == "additionalProperties" and isinstance(value, dict)):
            value = strict(value)
        elif key in ("allOf", "anyOf", "oneOf"):
            # Alternatives name some of the properties only: their parent refuses the others.
            value = [strict(child | {"x-kubernetes-preserve-unknown-fields": True}) for child in value]
        out[key] = value
    open_ended = schema.get("x-kubernetes-preserve-unknown-fields") or "additionalProperties" in schema
    if "properties" in schema and not open_ended:
        out["additionalProperties"] = False
    if schema.get("nullable") and "type" in out:
        out["type"] = [out["type"], "null"]
    return out


def main():
    crd = yaml.safe_load(open(sys.argv[1]))
    version = next(v for v in crd["spec"]["versions"] if v["name"] == sys.argv[2])
    schema = strict(version["schema"]["openAPIV3Schema"])
    kind, group = crd["spec"]["names"]["kind"], crd["spec"]["group"]
    # The API server checks these three.
    schema["properties"] |= {
        "apiVersion": {"const": f"{group}/{version['name']}"},
        "kind": {"const": kind},
        "metadata": {"type": "object", "required": ["name"]},
    }
    schema["properties"].pop("status", None)
    schema["required"] = sorted({"apiVersion", "kind", "metadata", "spec"} | set(schema.get("required", [])))
    out = pathlib.Path(__file__).with_name(f"{kind.lower()}-{group}-{version['name']}.json")
    out.write_text(json.dumps(schema, indent=1, sort_keys=True) + "\n")


main()
