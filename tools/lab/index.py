#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""index.py DIR: a package index (PEP 503) and its wheels, as two web roots: pypi.org, files.pythonhosted.org."""

import base64
import hashlib
import pathlib
import sys
import zipfile

WORDS = 'GREETING = "hello from a package installed in the sandbox"\n'
GREETING = "from lab_words import GREETING\n\n\ndef greet():\n    return GREETING\n"
PACKAGES = {
    "lab-words": ("lab_words", WORDS, []),
    "lab-greeting": ("lab_greeting", GREETING, ["lab-words"]),
}


def wheel(folder, name, module, source, requires):
    """Writes NAME's wheel below folder and returns its path."""
    path = folder / f"{module}-1.0-py3-none-any.whl"
    info = f"{module}-1.0.dist-info"
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n"
    metadata += "".join(f"Requires-Dist: {r}\n" for r in requires)
    files = {
        f"{module}.py": source,
        f"{info}/METADATA": metadata,
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: lab\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = ""
    with zipfile.ZipFile(path, "w") as z:
        for member, text in files.items():
            digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
            record += f"{member},sha256={digest},{len(text.encode())}\n"
            z.writestr(member, text)
        z.writestr(f"{info}/RECORD", record + f"{info}/RECORD,,\n")
    return path


def main():
    top = pathlib.Path(sys.argv[1])
    files = top / "files.pythonhosted.org" / "packages"
    files.mkdir(parents=True, exist_ok=True)
    for name, (module, source, requires) in PACKAGES.items():
        path = wheel(files, name, module, source, requires)
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        page = top / "pypi.org" / "simple" / name
        page.mkdir(parents=True, exist_ok=True)
        url = f"https://files.pythonhosted.org/packages/{path.name}#sha256={digest}"
        (page / "index.html").write_text(f'<!DOCTYPE html><html><body><a href="{url}">{path.name}</a></body></html>\n')


main()
