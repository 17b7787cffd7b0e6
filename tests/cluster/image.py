#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""
image.py NAME ROOT OUT [KEY=JSON...]: writes the folder or tar archive ROOT as a container image of one layer, an OCI
archive that `ctr images import` reads. The further arguments are of the image's configuration: Entrypoint='["/pause"]'.
"""

import hashlib
import io
import json
import os
import pathlib
import sys
import tarfile
import tempfile

ARCHITECTURE = {"x86_64": "amd64", "aarch64": "arm64"}[os.uname().machine]
INDEX = "application/vnd.oci.image.index.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar"


def owned_by_root(member):
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    return member


def layer_of(root, folder):
    """Root as a tar archive, made in folder if it is not one."""
    if root.is_file():
        return root
    path = folder / "layer.tar"
    with tarfile.open(path, "w") as tar:
        for entry in sorted(root.iterdir()):
            tar.add(entry, arcname=entry.name, filter=owned_by_root)
    return path


def sha256(path):
    with open(path, "rb") as f:
        return hashlib.file_digest(f, "sha256").hexdigest()


class Archive:
    def __init__(self, path):
        self.tar = tarfile.open(path, "w")

    def add(self, name, data):
        member = tarfile.TarInfo(name)
        member.size = len(data)
        self.tar.addfile(member, io.BytesIO(data))

    def blob(self, media_type, value):
        data = json.dumps(value).encode()
        digest = hashlib.sha256(data).hexdigest()
        self.add(f"blobs/sha256/{digest}", data)
        return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": len(data)}

    def file(self, media_type, path):
        digest = sha256(path)
        self.tar.add(path, arcname=f"blobs/sha256/{digest}", filter=owned_by_root)
        return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": path.stat().st_size}


def main():
    name, root, out = sys.argv[1], pathlib.Path(sys.argv[2]), pathlib.Path(sys.argv[3])
    settings = {key: json.loads(value) for key, value in (a.split("=", 1) for a in sys.argv[4:])}
    with tempfile.TemporaryDirectory(dir=out.parent) as folder:
        archive = Archive(out)
        layer = archive.file(LAYER, layer_of(root, pathlib.Path(folder)))
        config = archive.blob(CONFIG, {
            "architecture": ARCHITECTURE, "os": "linux", "config": settings,
            "rootfs": {"type": "layers", "diff_ids": [layer["digest"]]},
        })
        manifest = archive.blob(MANIFEST, {
            "schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": [layer],
        })
        manifest["annotations"] = {"io.containerd.image.name": name, "org.opencontainers.image.ref.name": name}
        index = {"schemaVersion": 2, "mediaType": INDEX, "manifests": [manifest]}
        archive.add("index.json", json.dumps(index).encode())
        archive.add("oci-layout", b'{"imageLayoutVersion": "1.0.0"}')
        archive.tar.close()


main()
